"""Predicted times of a team's members, from their records into the manifest's ``metrics`` and back."""

from collections.abc import Mapping, Sequence
from typing import Any

PREDICTED_ON = "predicted_on"


def as_metrics(records: Sequence[Mapping[str, Any]], *, precision: str) -> dict[str, float | str]:
    """The entries of the manifest's ``metrics``; none where a member has no time in this precision.

    Args:
        records: of the members' pruning, in running order.
    """
    if not all(record.get("predicted_for") == precision for record in records):
        return {}
    times = {_key(i): float(record["predicted_ms"]) for i, record in enumerate(records)}
    return {**times, PREDICTED_ON: str(records[0]["predicted_on"])}


def from_metrics(metrics: Mapping[str, float | str] | None, *, members: int) -> dict[str, Any]:
    """The report's ``predicted_ms`` and ``predicted_on``; empty where the manifest has none, or no numbers.

    Returns:
        ``{predicted_ms: [a number for each member], predicted_on}``.
    """
    stored = metrics or {}
    if PREDICTED_ON not in stored or not all(_key(i) in stored for i in range(members)):
        return {}
    times = [stored[_key(i)] for i in range(members)]
    if not all(isinstance(ms, (int, float)) for ms in times):
        return {}
    return {"predicted_ms": times, PREDICTED_ON: str(stored[PREDICTED_ON])}


def _key(member: int) -> str:
    return f"predicted_ms_{member}"
