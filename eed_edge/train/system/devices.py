"""Device of the training: choice, mixed precision and out-of-memory errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from eed_edge.errors import DeviceError


def choose_device(name: str) -> torch.device:
    """The torch device of a name; ``auto`` is CUDA where available, else the CPU.

    Raises:
        DeviceError: no such device, or ``cuda`` is not available.
    """
    if not isinstance(name, str) or (name not in ("auto", "cpu") and not name.startswith("cuda")):
        raise DeviceError(f"expected a device, auto, cpu or cuda, got {name!r}; name one of these")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceError(
            "device cuda: expected a CUDA device, torch finds none; use cpu or install a CUDA build"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def mixed_precision(device: torch.device) -> torch.autocast:
    """Autocast to bfloat16 where it is faster than float32: CUDA, and CPUs with AMX or AVX512-BF16."""
    fast = device.type == "cuda"
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):  # older torch lacks it
        capabilities = torch.cpu.get_capabilities()
        fast = capabilities.get("amx_bf16", False) or capabilities.get("avx512_bf16", False)
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


@contextmanager
def reraise_out_of_memory(remedy: str) -> Iterator[None]:
    """Re-raise out-of-memory errors as DeviceError with advice.

    Args:
        remedy: what to do about it, such as ``lower base.batch``.

    Raises:
        DeviceError: the body ran out of memory.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in text:
            raise DeviceError(f"out of memory; {remedy}") from error
        raise
