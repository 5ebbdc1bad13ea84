"""Programs that take turns block by block: inside a block nothing else runs, so caches are each one's own."""

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
CLOCKS: dict[str, Callable[[], float]] = {"wall": perf_counter, "cpu": process_time}
"""cpu: this process's own time, for programs of one thread on a machine that has other work."""


def in_blocks(
    calls: Mapping[str, Callable[[Floats], Any]],
    parts: Sequence[Floats],
    rounds: int,
    clock: str = "wall",
    *,
    typical: Callable[[list[float]], Any] = np.median,
) -> dict[str, NDArray[np.float64]]:
    """Seconds of a typical call of each program, ``(rounds,)``; a block is one call per part.

    Args:
        typical: what a block's times become; the mean where the work differs from part to part.
    """
    now = CLOCKS[clock]
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            times = []
            for part in parts:
                started = now()
                call(part)
                times.append(now() - started)
            if turn:  # the first round warms up
                found[name].append(float(typical(times)))
    return {name: np.array(times) for name, times in found.items()}


def in_pairs(
    one: Callable[[Floats], Any],
    other: Callable[[Floats], Any],
    parts: Sequence[Floats],
    rounds: int,
    clock: str = "wall",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds of every call of two programs over the same sessions, ``(rounds, parts)`` each.

    They take turns call by call, and in who comes first, so that both find the same caches and the
    same speed of the machine: for differences that are small beside the drift from block to block.
    """
    now, calls = CLOCKS[clock], (one, other)
    found = np.empty((2, rounds + 1, len(parts)))
    for turn in range(rounds + 1):
        for i, part in enumerate(parts):
            for which in (i % 2, 1 - i % 2):
                started = now()
                calls[which](part)
                found[which, turn, i] = now() - started
    return found[0, 1:], found[1, 1:]  # the first round warms up
