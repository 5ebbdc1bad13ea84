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
