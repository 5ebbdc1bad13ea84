"""Checkpoints on disk: safetensors with a JSON record in the metadata; nothing is unpickled."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from eed_edge.atomic_files import write_atomic
from eed_edge.errors import CheckpointError, NetworkError
from eed_edge.files.regular_files import open_regular
from eed_edge.train.networks.build import (
    ARCHITECTURES,
    Classifier,
    arrange_memory,
    build_network,
)
from eed_edge.train.networks.resize import resize_to

FORMAT = 1
_MOST_PARAMETERS = 50_000_000
_MOST_RATIO = 1000


def save_checkpoint(path: Path, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Write tensors and a JSON record atomically; the same input gives the same bytes.

    Raises:
        StorageError: the file cannot be written; an earlier one is untouched.
    """
    plain, seen = {}, set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        if value.data_ptr() in seen:  # a layer under two names: safetensors refuses shared memory
            value = value.clone()
        seen.add(value.data_ptr())
        plain[name] = value
    record = {"format": FORMAT, **record}
    write_atomic(path, to_bytes(plain, {"eed_edge": json.dumps(record, sort_keys=True)}))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Load tensors and record of a file that ``save_checkpoint`` wrote.

    Raises:
        CheckpointError: the file is missing, cut short or of another format.
    """
    try:
        open_regular(path).close()  # safe_open would wait for a pipe
        with safe_open(path, "pt") as stream:
            record = json.loads((stream.metadata() or {}).get("eed_edge", "null"))
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint {path}; run eed-edge train first") from error
    except (SafetensorError, OSError, ValueError, RecursionError) as error:  # the JSON parser recurses
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(
            f"{path}: expected a whole safetensors file, got: {reason}; delete it and train again"
        ) from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: expected a checkpoint of format {FORMAT}; it was not written by this version"
        )
    return tensors, record


def is_project_checkpoint(path: Path) -> bool:
    """Whether the file was written by ``save_checkpoint``."""
    try:
        open_regular(path).close()
        with safe_open(path, "pt") as stream:
            return "eed_edge" in (stream.metadata() or {})
    except (SafetensorError, OSError):
        return False


def save_network(path: Path, net: Classifier, record: dict[str, Any], *, compact: bool = False) -> None:
    """Write the weights of one network with its architecture and its record.

    Args:
        compact: round the weights of convolutions and linear layers to half precision. Norms,
            biases and the normalisation keep single precision.
    """
    tensors = net.state_dict()
    if compact:
        tensors = {name: _halved(tensor) for name, tensor in tensors.items()}
    layout = {} if net.channels_last else {"memory_format": "contiguous"}
    save_checkpoint(path, tensors, {**record, **layout, "architecture": net.architecture})


def _halved(tensor: Tensor) -> Tensor:
    """The tensor in half precision, unless it is small or out of range there."""
    if not tensor.is_floating_point() or tensor.dim() < 2 or tensor.numel() < 64:
        return tensor
    half = tensor.half()
    return half if torch.isfinite(half).all() else tensor


def load_network(path: Path, *, named_arch: str = "") -> tuple[Classifier, dict[str, Any]]:
    """Load the network of a file that ``save_network`` wrote, with its pruned widths, and its record.

    Args:
        named_arch: the ``net.arch`` that the user's recipe names. A module that only the file names is not
            imported.

    Raises:
        CheckpointError: the file is missing, cut short, of another format, of another network, or of an
            architecture that is neither the recipe's nor built in.
    """
    tensors, record = load_checkpoint(path)
    architecture = _architecture(path, record, named_arch)
    try:
        _check_size(architecture, tensors)
        try:
            net = build_network(**architecture)
        except NetworkError as error:
            raise CheckpointError(f"{path}: {error}") from error
        resize_to(net, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        net.load_state_dict(tensors)
    except CheckpointError:
        raise
    except Exception as error:  # damaged values make torch and networks of users raise many types
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path}: the weights do not fit the network: {reason}") from error
    net.channels_last = record.get("memory_format") != "contiguous"
    arrange_memory(net)
    return net.eval(), record


def _check_size(architecture: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Refuse a built-in network that is far larger than its weights, before it takes memory.

    Raises:
        NetworkError: unpruned, it has over ``_MOST_PARAMETERS`` and over ``_MOST_RATIO`` times the file's.
    """
    arguments = dict(architecture)
    if (make := ARCHITECTURES.get(arguments.pop("arch"))) is None:
        return
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in make(**arguments).parameters())
    stored = sum(tensor.numel() for tensor in tensors.values())
    if parameters > max(_MOST_PARAMETERS, _MOST_RATIO * stored):
        raise NetworkError(f"{parameters:,} parameters unpruned, far more than the {stored:,} of the file")


def _architecture(path: Path, record: dict[str, Any], named_arch: str) -> dict[str, Any]:
    """The arguments of ``build_network`` in a record, of the right types and without a module of its own."""
    architecture = record.get("architecture")
    kinds = {"arch": str, "classes": int, "channels": int, "width": int}
    if (
        not isinstance(architecture, dict)
        or architecture.keys() != kinds.keys()
        or any(type(architecture[key]) is not kind for key, kind in kinds.items())
    ):
        raise CheckpointError(
            f"{path}: expected an architecture of {', '.join(kinds)}, got {architecture!r:.120};"
            " put the run's own file back"
        )
    if architecture["arch"] not in (*ARCHITECTURES, named_arch):
        expected = ", ".join(filter(None, (*ARCHITECTURES, named_arch)))
        raise CheckpointError(
            f"{path}: expected a network of {expected}, got {architecture['arch']!r:.80}, which was not"
            " imported; set net.arch to it if you trust that module"
        )
    return architecture
