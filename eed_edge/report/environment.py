"""The date, machine, package versions and git commit that figures were measured with."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

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


def machine() -> dict[str, Any]:
    """``{date, cpu, cores, os, python, versions}``: today's in UTC, versions of installed packages."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def commit() -> str:
    """The git commit of the source tree that contains this package, or ``unknown``.

    ``-dirty`` is appended when files of the package differ from the commit. An installed package gives
    ``unknown``, even inside another project's repository.
    """
    package = Path(__file__).resolve().parents[1]
    root = package.parent
    if not (root / ".git").exists() or _git(root, "ls-files", package.name) in (None, ""):
        return "unknown"
    head = _git(root, "rev-parse", "HEAD")
    if not head:
        return "unknown"
    return head + ("-dirty" if _git(root, "status", "--porcelain", "--", package.name) else "")


def _cpu() -> str:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    entries = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    fields = {key.strip(): value.strip() for key, value in entries.items()}
    return fields.get("model name") or fields.get("Model") or platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() if process.returncode == 0 else None
