"""Rescale the times of a report so that the bundle has one mean time, that of ``latency``.

``bench``, ``attack`` and the baselines time the deployed bundle at different moments and on different images.
For people the bundle has one mean time, that of ``bench``; the other times of a part keep the ratio to the
bundle that was measured in that part.
"""

from collections.abc import Callable, Mapping
from typing import Any

TIMES = ("mean_ms", "p99_ms", "target_ms")
BASELINE_PARTS = ("narrow", "single")


def with_one_clock(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report with rescaled times; a part is unchanged where it or ``latency`` is missing."""
    changed = dict(report)
    bundle_ms = _number(lambda: report["latency"]["dynamic"]["mean_ms"])
    if bundle_ms is None:
        return changed
    measured = {
        "slowdown": lambda: report["slowdown"]["uncapped"]["clean"]["mean_ms"],
        "curves": lambda: _deployed_row(report)["mean_ms"],
        **{name: lambda name=name: report[name]["target_ms"] for name in BASELINE_PARTS},  # type: ignore[misc]
    }
    for name, find in measured.items():
        here_ms = _number(find)
        if here_ms:
            changed[name] = _scaled(report[name], bundle_ms / here_ms)
    return changed


def _deployed_row(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The bundle's row of the threshold curve; in earlier reports, the row that runs as many sub-models."""
    rows, used = report["curves"]["threshold"]["rows"], report["submodels_used"]["clean"]
    nearest: Mapping[str, Any] = min(
        rows, key=lambda row: (not row.get("deployed"), abs(row["submodels_used"] - used))
    )
    return nearest


def _number(find: Callable[[], Any]) -> float | None:
    """The number, or None where the report has no such part or a damaged one, which its section reports."""
    try:
        value = find()
        return float(value) if isinstance(value, (int, float)) else None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
        return None


def _scaled(part: Any, factor: float) -> Any:
    """Return the part with its times multiplied."""
    if isinstance(part, list):
        return [_scaled(each, factor) for each in part]
    if not isinstance(part, Mapping):
        return part
    return {
        key: value * factor if key in TIMES and isinstance(value, (int, float)) else _scaled(value, factor)
        for key, value in part.items()
    }
