"""Timing: warm-up, interleaved calls, percentiles, peak memory, and cold starts in new processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eed_edge.errors import InferenceError, InputError
from eed_edge.runtime.engine.session import DEFAULT, SessionConfig

Times = NDArray[np.float64]
_STATUS = Path("/proc/self/status")


def interleaved(
    calls: Mapping[str, Callable[[int], object]], *, items: int, repeats: int, warm_up: int = 10
) -> dict[str, Times]:
    """Time the callables interleaved, so that machine noise affects all equally.

    Args:
        calls: each takes an item's index.
        warm_up: untimed calls of each before the measurement.

    Returns:
        ``(repeats, items)`` milliseconds for each call.

    Raises:
        InputError: no call, item or repeat.
    """
    if not calls or items < 1 or repeats < 1:
        raise InputError(
            f"expected something to time, got {len(calls)} calls, {items} items, {repeats} repeats"
        )
    for call in calls.values():
        for item in range(warm_up):
            call(item % items)
    times = {name: np.empty((repeats, items)) for name in calls}
    order = list(calls)
    for repeat in range(repeats):
        for item in range(items):
            order.append(order.pop(0))  # rotate: no call always follows the same other call
            for name in order:
                call = calls[name]
                started = perf_counter()
                call(item)
                times[name][repeat, item] = (perf_counter() - started) * 1000
    return times


def summary(times: Times) -> dict[str, float]:
    """Return ``{p50_ms, p90_ms, p99_ms, mean_ms}`` over all repeats and items."""
    p50, p90, p99 = np.percentile(times, (50, 90, 99))
    return {"p50_ms": float(p50), "p90_ms": float(p90), "p99_ms": float(p99), "mean_ms": float(times.mean())}


def peak_rss_mib() -> float:
    """Return the peak resident memory of this process in MiB, or 0 where the system does not report it.

    On Linux, ``ru_maxrss`` of a new process includes the memory of its parent; ``VmHWM`` does not.
    """
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # not on Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def measure_cold_start(path: Path, *, config: SessionConfig = DEFAULT, runs: int = 3) -> dict[str, float]:
    """Measure loading a bundle folder, a cascade.onnx or a network, and its first image.

    Each run is a new process, so only the disk cache is warm.

    Returns:
        ``{load_ms, first_ms, peak_rss_mib}``, medians; ``load_ms`` excludes imports.

    Raises:
        InferenceError: the process failed.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = [str(path), *(str(int(value)) for value in config.as_record().values())]
    command = [sys.executable, "-m", "eed_edge.runtime.measure.cold_start", *argv]
    measured: list[dict[str, Any]] = []
    for _ in range(runs):
        process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if process.returncode:
            reason = (process.stderr.strip().splitlines() or ["no message"])[-1]
            raise InferenceError(
                f"expected a process that answers one image, got: {reason}; check the bundle"
            )
        measured.append(json.loads(process.stdout))
    return {name: median(run[name] for run in measured) for name in measured[0]}
