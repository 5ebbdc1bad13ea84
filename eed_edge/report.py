"""Numbers with what they need to be believed: machine, versions, commit and spread."""

import json
import math
import os
import platform
import subprocess
from collections.abc import Collection
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eed_edge.atomic_files import write_json
from eed_edge.errors import InputError

_PACKAGES = (
    "eed-edge",
    "numpy",
    "onnxruntime",
    "torch",
    "torch-pruning",
    "onnx",
    "onnxscript",
    "pyautoattack",
    "foolbox",
    "scikit-learn",
)
_CPUINFO = Path("/proc/cpuinfo")
_Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


def machine() -> dict[str, Any]:
    """``{cpu, cores, os, python, versions}``; versions of the packages that are installed."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def commit() -> str:
    """The git commit of the source tree that this package lies in, or ``unknown``.

    ``-dirty`` is added when files of the package differ from it. A package that is installed, even
    below another project's repository, is not of that repository and gives ``unknown``.
    """
    package = Path(__file__).resolve().parent
    root = package.parent
    if not (root / ".git").exists() or _git(root, "ls-files", package.name) in (None, ""):
        return "unknown"
    found = _git(root, "rev-parse", "HEAD")
    if not found:
        return "unknown"
    return found + ("-dirty" if _git(root, "status", "--porcelain", "--", package.name) else "")


def wilson(right: int, images: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share, as fractions.

    Raises:
        InputError: not ``0 <= right <= images``.

    Source:
        E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if not 0 <= right <= images:
        raise InputError(f"expected 0 <= right <= images, got {right} of {images}; count again")
    if images == 0:
        return 0.0, 1.0
    share, spread = right / images, _Z95**2 / images
    centre = share + spread / 2
    half = math.sqrt(spread * (share * (1 - share) + spread / 4))
    low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
    return max(0.0, low) if right else 0.0, min(1.0, high) if right < images else 1.0


def wilson_interval(right: NDArray[np.bool_]) -> list[float]:
    """Lower and upper end of the Wilson interval for ``(n,)`` verdicts."""
    return list(wilson(int(right.sum()), len(right)))


def read_report(path: Path) -> dict[str, Any]:
    """The report at ``path``.

    Raises:
        InputError: it is missing or no JSON object.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(report, dict):
            raise ValueError(f"a {type(report).__name__}")
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; run eed-edge attack or eed-edge bench --run first") from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected a JSON object, got: {error}; move the file away and measure again"
        ) from error
    return report


def merge_report(path: Path, figures: dict[str, Any], *, without: Collection[str] = ()) -> dict[str, Any]:
    """Put figures into the report at ``path``, object by object, and write it whole.

    Args:
        without: parts of the old report that are dropped first.

    Returns:
        The whole report.

    Raises:
        InputError: what is at ``path`` is not a report.
        StorageError: it cannot be written; what was there is untouched.
    """
    report = read_report(path) if path.exists() else {}
    old = {key: value for key, value in report.items() if key not in without}
    whole = _merged(old, figures)
    write_json(path, whole)
    return whole


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = dict(old)
    for key, value in new.items():
        deeper = isinstance(value, dict) and isinstance(old.get(key), dict)
        both[key] = _merged(old[key], value) if deeper else value
    return both


def _cpu() -> str:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    entries = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    found = {key.strip(): value.strip() for key, value in entries.items()}
    return found.get("model name") or found.get("Model") or platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() if process.returncode == 0 else None
