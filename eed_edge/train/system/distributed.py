"""Processes that train together: rank, world size and collectives, over torchrun and accelerate."""

import datetime
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from eed_edge.errors import DeviceError, EedError, TrainingError, how_to_install

T = TypeVar("T")
TIMEOUT = datetime.timedelta(days=7)
"""How long a process waits for the others: one candidate may take hours."""
ERROR_GRACE_S = 30
"""How long the others wait for the main process to report an error; torchrun then ends them."""


@dataclass(frozen=True)
class Processes:
    """Rank and world size; collectives do nothing in a single process."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and decides (rank 0)."""
        return self.rank == 0

    @property
    def shard(self) -> slice:
        """This process's share of a sequence that all processes hold."""
        return slice(self.rank, None, self.size)

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """Sum of ``tensor`` over processes."""
        return self._reduced(tensor, "sum")

    def averaging_gradients(self, module: nn.Module) -> nn.Module:
        """``module`` in DistributedDataParallel: its backward pass averages gradients over processes.

        In a single process the module itself. Buffers stay each process's own.
        """
        if self.size == 1:
            return module
        from torch.nn.parallel import DistributedDataParallel

        with self.peer_errors(), warnings.catch_warnings():
            # The successor of this option makes the buffers equal once, also in a resumed epoch.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            return DistributedDataParallel(module, broadcast_buffers=False)

    def all_reduce_mean_(self, tensors: Iterable[Tensor | None]) -> None:
        """Replace every floating-point tensor, in place, by the mean over processes."""
        if self.size == 1:
            return
        floats = [tensor for tensor in tensors if tensor is not None and tensor.is_floating_point()]
        flat = self._reduced(torch.cat([tensor.detach().reshape(-1) for tensor in floats]), "mean")
        with torch.no_grad():
            for tensor, mean in zip(floats, torch.split(flat, [t.numel() for t in floats]), strict=True):
                tensor.copy_(mean.view_as(tensor))

    def all_gather(self, value: T) -> list[T]:
        """Each process's value, by rank."""
        if self.size == 1:
            return [value]
        from accelerate.utils import gather_object

        with self.peer_errors():
            gathered: list[T] = gather_object([value])
        return gathered

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return any(self.all_gather(flag))

    def barrier(self) -> None:
        """Wait until all processes have arrived."""
        self.all_gather(None)

    def raise_on_main(self, error: EedError) -> None:
        """Raise an error that all processes have detected; only the main one reports it."""
        if self.is_main:
            raise error
        time.sleep(ERROR_GRACE_S)
        raise SystemExit(1)

    def _reduced(self, tensor: Tensor, how: str) -> Tensor:
        if self.size == 1:
            return tensor
        from accelerate.utils import reduce

        with self.peer_errors():
            reduced: Tensor = reduce(tensor, how)
        return reduced

    @contextmanager
    def peer_errors(self) -> Iterator[None]:
        """Turn a lost peer process into a TrainingError; other errors of torch pass."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not _is_of_a_connection(error):
                raise
            self.raise_on_main(
                TrainingError("another process has ended; read its output and start all again to resume")
            )
            raise AssertionError from error


def _is_of_a_connection(error: RuntimeError) -> bool:
    """Whether a collective has failed; gloo raises plain RuntimeErrors."""
    text = str(error).lower()
    return isinstance(error, torch.distributed.DistError) or "gloo" in text or "connection" in text


SINGLE_PROCESS = Processes()


@contextmanager
def process_group(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """The processes that torchrun started, and this one's device; a single process without torchrun.

    Raises:
        DeviceError: accelerate is not installed, or this machine has fewer devices than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield SINGLE_PROCESS, device
        return
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise DeviceError(f"torchrun needs accelerate; {how_to_install('train')}") from error
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if device.type == "cuda" and local_size > torch.cuda.device_count():
        raise DeviceError(
            f"expected a CUDA device for each of {local_size} processes, got {torch.cuda.device_count()};"
            " lower --nproc-per-node"
        )
    # Imported later, its default arguments would keep the process group alive, and with it gloo's
    # threads; one that runs at the interpreter's end aborts the process.
    import_module("torch.distributed.nn")

    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # else accelerate changes it
    state = PartialState(cpu=device.type == "cpu", timeout=TIMEOUT, **_rendezvous())
    try:
        yield Processes(state.process_index, state.num_processes), state.device
    finally:
        state.destroy_process_group()
        PartialState._reset_state()


def _rendezvous() -> dict[str, Any]:
    """Rendezvous store of restarted processes, as arguments for torch.

    torchrun's store still holds the addresses of the dead processes (pytorch issue 135712). Restart
    counts differ between machines; there TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 helps.
    """
    restart, machines = (
        os.environ.get(name, "") for name in ("TORCHELASTIC_RESTART_COUNT", "GROUP_WORLD_SIZE")
    )
    if restart in ("", "0") or machines != "1":
        return {}
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    first = rank == 0 and not shared
    store = torch.distributed.TCPStore(address, port, size, is_master=first)  # type: ignore[attr-defined]
    return {
        "store": torch.distributed.PrefixStore(f"restart-{restart}", store),  # type: ignore[attr-defined]
        "rank": rank,
        "world_size": size,
    }
