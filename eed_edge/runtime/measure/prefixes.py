"""Cascades that stop at a set sub-model, to time each prefix as it runs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eed_edge.arrays import Ints
from eed_edge.errors import InputError
from eed_edge.gate_rules.confidence_rule import NEVER_STOP
from eed_edge.provenance import evaluated_digest
from eed_edge.report import read_report
from eed_edge.runtime.engine.cascade import Cascade

STOPS_SEED = 0


def prefix_cascades(cascade: Cascade) -> list[Cascade]:
    """Return, for t = 1, 2, …, the cascade that runs the first t sub-models on every image.

    They have the sessions of ``cascade``; the gate is computed and never stops.
    """
    return [
        Cascade(
            cascade.manifest,
            cascade.submodels,
            rule="confidence",
            parameters={"threshold": NEVER_STOP},
            max_submodels=t,
        )
        for t in range(1, len(cascade.submodels) + 1)
    ]


def stops_in_shares(shares: Sequence[float], count: int) -> Ints:
    """Return ``count`` stops, ``(count,)`` from 1, in these shares and in random order.

    Each stop comes ``count`` times its share, rounded so that the sum is ``count``.
    """
    ends = np.rint(np.cumsum(shares) / np.sum(shares) * count).astype(np.int64)
    stops = np.repeat(np.arange(1, len(shares) + 1), np.diff(ends, prepend=0))
    return np.random.default_rng(STOPS_SEED).permutation(stops)


def recorded_stops(run: Path, bundle: Path) -> dict[str, list[float]]:
    """Return the share of attacked images that stop at each sub-model, by attack, as the run's report has it.

    Returns:
        ``{pgd20, slowdown}``; empty where the report lacks them or they are of other files.

    Raises:
        InputError: a report that is damaged.
    """
    path = run / "report.json"
    figures = read_report(path) if path.exists() else {}
    if figures.get("evaluated") != evaluated_digest(run, bundle).hexdigest():
        return {}
    try:
        shares = figures.get("curves", {}).get("stopping", {})
        stops = {name: list(map(float, shares[name])) for name in ("pgd20", "slowdown") if name in shares}
        if not all(min(each) >= 0 and sum(each) > 0 for each in stops.values()):
            raise ValueError("shares below 0, or all of them 0")
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected curves.stopping as docs/REPORT.md describes it, got: {error};"
            " run eed-edge attack again"
        ) from error
    return stops
