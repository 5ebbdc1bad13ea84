"""Read a state dict from a file of another program; only tensors are unpickled."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from eed_edge.errors import CheckpointError
from eed_edge.files.regular_files import open_regular
from eed_edge.train.networks.pickle_bounds import check_pickles

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights", "params")
"""Keys under which training scripts store the state dict, in order of precedence."""
PICKLES = (b"PK\x03\x04", b"\x80")
"""First bytes of ``torch.save`` files: zip archives, and plain pickles before version 1.6."""


class StateDict(NamedTuple):
    """Tensors by name.

    ordered: whether they are in the order in which the layers were registered; sorted names need not be.
    """

    tensors: dict[str, Tensor]
    ordered: bool


def read_state_dict(path: Path) -> StateDict:
    """The tensors of a safetensors file or of a file of ``torch.save``, on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something other than a state dict.
    """
    try:
        with open_regular(path) as stream:
            start = stream.read(9)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; set base.init to a file of weights") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}; check base.init") from error
    if start[8:9] == b"{":  # eight bytes of length, then the JSON header
        return StateDict(_safetensors(path), ordered=False)
    if start.startswith(PICKLES):
        tensors = _unwrapped(_unpickled(path), path)
        return StateDict(tensors, ordered=list(tensors) != sorted(tensors))
    raise CheckpointError(
        f"{path}: expected a safetensors file or a state dict of torch.save, got neither; check base.init"
    )


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"{path}: expected a whole safetensors file, got: {_line(error)}; copy it again"
        ) from error
    return _unwrapped(tensors, path)


def _unpickled(path: Path) -> object:
    try:
        with warnings.catch_warnings(), open_regular(path) as stream:
            warnings.simplefilter("ignore")
            check_pickles(stream)
            value: object = torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # damage makes torch raise many types
        text = str(error)
        if "weights_only" in text:
            named = re.search(r"GLOBAL ([\w.]+)", text)
            raise CheckpointError(
                f"{path}: expected tensors only, got a pickle with other objects"
                f"{f' ({named[1]})' if named else ''}, which was not loaded; where it was made, save"
                " net.state_dict() with torch.save"
            ) from error
        raise CheckpointError(
            f"{path}: expected a whole file of torch.save, got: {_line(error)}; copy it again"
        ) from error
    return value


def _unwrapped(value: object, path: Path) -> dict[str, Tensor]:
    """The state dict inside the wrapping dicts of training scripts."""
    for _ in range(4):
        if _is_state_dict(value):
            return dict(value)  # type: ignore[call-overload, no-any-return]
        if not isinstance(value, Mapping):
            break
        named = [value[key] for key in WRAPPERS if isinstance(value.get(key), Mapping)]
        inner = named[:1] or [item for item in value.values() if _is_state_dict(item)]
        if len(inner) != 1:
            break
        value = inner[0]
    got = f"a dict of {', '.join(map(repr, value))}" if isinstance(value, dict) else type(value).__name__
    raise CheckpointError(
        f"{path}: expected a state dict (names to tensors), got {got:.120}; save net.state_dict()"
    )


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and name.isprintable() for name in value)
        and all(isinstance(item, Tensor) for item in value.values())
    )


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
