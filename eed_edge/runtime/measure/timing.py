"""Time cold starts in new processes, and read the memory of a process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from eed_edge.errors import InferenceError
from eed_edge.runtime.engine.session import DEFAULT, SessionConfig

_STATUS = Path("/proc/self/status")


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


def rss_mib() -> float:
    """Return the resident memory of this process in MiB now, or 0 where the system does not report it."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmRSS:"))
    except (OSError, StopIteration):
        return 0.0


def measure_cold_start(path: Path, *, config: SessionConfig = DEFAULT, runs: int = 3) -> dict[str, float]:
    """Measure loading a bundle folder, a cascade.onnx or a network, and its first image.

    Each run is a new process, so only the disk cache is warm.

    Returns:
        ``{load_ms, first_ms, first_answer_ms, mean_rss_mib, peak_rss_mib}``, medians; ``load_ms`` excludes
        imports, ``first_answer_ms`` is the sum of both times, memory is that of loading and some images.

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
