"""Validate the arguments of ``eed_edge.load`` and of the other public functions."""

import math
import os
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from eed_edge.errors import InputError
from eed_edge.suggestions import expected_one_of

MAX_THREADS = 1024  # more than any machine has cores


def to_path(value: Any) -> Path:
    """Return a str or path-like argument as ``Path``.

    Raises:
        InputError: another type, or a path with a NUL character.
    """
    if not isinstance(value, (str, os.PathLike)) or not isinstance(path := os.fspath(value), str):
        raise InputError(
            f"expected a path as str or Path, got {short_repr(value)}; name a bundle folder or a cascade.onnx"
        )
    if "\0" in path:
        raise InputError(f"expected a path without NUL characters, got {short_repr(path)}; check the path")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise InputError(
            f"expected a path that the file system can name, got {short_repr(path)}; check it"
        ) from error
    return Path(path)


def positive_int(name: str, value: Any, *, most: int | None = None, advice: str) -> int:
    """Return an integer >= 1 and, with ``most``, at most that.

    Raises:
        InputError: anything else, bool included.
    """
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else 0
    if not 1 <= number <= (most or number):
        end = f"to {most}" if most else "on"
        raise InputError(f"expected {name}, a whole number from 1 {end}, got {short_repr(value)}; {advice}")
    return number


def to_float(value: Any) -> float:
    """Return a real number as float, or NaN, which is in no range, for anything else."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def deadline(value: Any) -> float | None:
    """Return a deadline in milliseconds; None and infinity become None, no deadline.

    Raises:
        InputError: neither None nor a number >= 0.
    """
    if value is None:
        return None
    milliseconds = to_float(value)
    if not milliseconds >= 0:
        raise InputError(f"expected deadline_ms, a number >= 0, got {short_repr(value)}; infinity means none")
    return None if milliseconds == math.inf else milliseconds


def one_of(name: str, value: Any, known: Iterable[str]) -> str:
    """Return one of the known words.

    Raises:
        InputError: anything else.
    """
    words = list(known)
    if not isinstance(value, str) or value not in words:
        raise InputError(f"{name}: {expected_one_of(words, value)}; name one of these")
    return value


def number_from_0(name: str, value: Any, *, most: float = math.inf) -> float:
    """Return a number from 0 to ``most``.

    Raises:
        InputError: anything else, NaN included.
    """
    number = to_float(value)
    if not 0 <= number <= most:
        end = "on" if most == math.inf else f"to {most:g}"
        raise InputError(f"expected {name}, a number from 0 {end}, got {short_repr(value)}; change it")
    return number


def boolean(name: str, value: Any) -> bool:
    """Return a bool.

    Raises:
        InputError: anything else.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"expected {name}, True or False, got {short_repr(value)}; give one of these")
    return bool(value)


def name_list(name: str, value: Any) -> list[str]:
    """Return a sequence of strings as a list.

    Raises:
        InputError: anything else, a single string included.
    """
    if (
        not isinstance(value, Sequence)
        or isinstance(value, str)
        or not all(isinstance(x, str) for x in value)
    ):
        raise InputError(
            f"expected {name}, a list or tuple of names, got {short_repr(value)};"
            " such as ['CPUExecutionProvider']"
        )
    return list(value)


def short_repr(value: Any) -> str:
    """Return ``repr(value)`` on one line of at most 60 characters."""
    return f"{' '.join(repr(value).split()):.60}"
