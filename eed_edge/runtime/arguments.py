"""Arguments of ``eed_edge.load``: each of the right type and in range, or one line says what came."""

import math
import os
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from eed_edge.errors import InputError

MAX_THREADS = 1024  # more than any machine has cores


def to_path(given: Any) -> Path:
    """A path that was given as text or ``Path``.

    Raises:
        InputError: anything else, or a path that no file can have.
    """
    if not isinstance(given, (str, os.PathLike)) or not isinstance(path := os.fspath(given), str):
        raise InputError(
            f"expected a path as str or Path, got {short_repr(given)}; name a bundle folder or a cascade.onnx"
        )
    if "\0" in path:
        raise InputError(f"expected a path without NUL characters, got {short_repr(path)}; check the path")
    return Path(path)


def positive_int(name: str, given: Any, *, most: int | None = None, advice: str) -> int:
    """A whole number from 1 on, up to ``most``.

    Raises:
        InputError: anything else, truth values too.
    """
    value = int(given) if isinstance(given, Integral) and not isinstance(given, bool) else 0
    if not 1 <= value <= (most or value):
        end = f"to {most}" if most else "on"
        raise InputError(f"expected {name}, a whole number from 1 {end}, got {short_repr(given)}; {advice}")
    return value


def to_float(given: Any) -> float:
    """A real number as a float; NaN, which is in no range, for whatever is none or does not fit one."""
    if not isinstance(given, Real) or isinstance(given, bool):
        return math.nan
    try:
        return float(given)
    except OverflowError:
        return math.nan


def deadline(given: Any) -> float | None:
    """Milliseconds, None for no deadline.

    Raises:
        InputError: neither None nor a number from 0 on; infinity means none.
    """
    if given is None:
        return None
    milliseconds = to_float(given)
    if not milliseconds >= 0:
        raise InputError(f"expected deadline_ms, a number >= 0, got {short_repr(given)}; infinity means none")
    return None if milliseconds == math.inf else milliseconds


def boolean(name: str, given: Any) -> bool:
    """A truth value.

    Raises:
        InputError: anything else.
    """
    if not isinstance(given, (bool, np.bool_)):
        raise InputError(f"expected {name}, True or False, got {short_repr(given)}; give one of these")
    return bool(given)


def name_list(name: str, given: Any) -> list[str]:
    """A list or tuple of texts.

    Raises:
        InputError: anything else, a bare text too.
    """
    if (
        not isinstance(given, Sequence)
        or isinstance(given, str)
        or not all(isinstance(x, str) for x in given)
    ):
        raise InputError(
            f"expected {name}, a list or tuple of names, got {short_repr(given)};"
            " such as ['CPUExecutionProvider']"
        )
    return list(given)


def short_repr(given: Any) -> str:
    """What came, on one short line."""
    return f"{' '.join(repr(given).split()):.60}"
