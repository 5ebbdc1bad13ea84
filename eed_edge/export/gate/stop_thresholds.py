"""A threshold for each stop of the confidence rule: those that run the fewest sub-models at a given loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Bools, Floats
from eed_edge.gate_rules.confidence_rule import NEVER_STOP

Thresholds = tuple[float, ...]
CANDIDATES = (NEVER_STOP, *np.linspace(1, 0, 101).tolist())
"""Thresholds to try at a stop, from the safest on."""
FALL = 0.2
"""``falling_thresholds`` fall as ``t ** -FALL``: the mean of more members is less sure at equal accuracy."""


@dataclass(frozen=True)
class StopTable:
    """What each stop would answer on ``n`` images, clean (version 0) and attacked (the others).

    confidence: ``(versions, stops, n)`` float32, the largest probability at each stop but the last.
    lost: ``(versions, stops + 1, n)``, the mean of all members is right and that of this stop is wrong.
    """

    confidence: Floats
    lost: Bools

    def part(self, images: slice) -> "StopTable":
        """Return the table of some of the images."""
        return StopTable(self.confidence[:, :, images], self.lost[:, :, images])

    def cost(self, thresholds: Thresholds) -> tuple[float, int]:
        """Return the mean number of sub-models run on clean images, and the images lost in any version."""
        stops = self.confidence >= np.asarray(thresholds, np.float64)[:, None]  # (versions, stops, n)
        always = np.ones_like(stops[:, :1])
        first = np.concatenate([stops, always], axis=1).argmax(axis=1)  # (versions, n), from 0
        lost = np.take_along_axis(self.lost, first[:, None], axis=1)[:, 0]
        return float(first[0].mean()) + 1, int(np.logical_or.reduce(lost).sum())


def stop_table(versions: Sequence[Floats], labels: NDArray[np.int64]) -> StopTable:
    """Return the table of recorded probabilities, ``(members, n, k)`` for each version, clean first."""
    counts = np.arange(1, len(versions[0]) + 1)[:, None, None]
    means = [np.cumsum(probs, axis=0, dtype=np.float64) / counts for probs in versions]
    wrong = np.stack([mean.argmax(2) != labels for mean in means])  # (versions, members, n)
    confidence = np.stack([mean[:-1].max(2) for mean in means])
    return StopTable(confidence, ~wrong[:, -1:] & wrong)


def falling_thresholds(stops: int) -> list[Thresholds]:
    """Return settings from never stopping to always stopping; no image decides their order."""
    falling = np.arange(1, stops + 1) ** -FALL
    return [(NEVER_STOP,) * stops, *(tuple((first * falling).tolist()) for first in np.linspace(1, 0, 201))]


def search_thresholds(table: StopTable, allowed: int, starts: Sequence[Thresholds] = ()) -> Thresholds:
    """Return the thresholds that run the fewest sub-models and lose at most ``allowed`` images.

    One stop after another takes the best threshold given the others, until none changes: from never stopping,
    first stop or last stop first, and from each of ``starts`` within the limit. The result is no slower than
    any of these; it need not be the best of all.
    """
    stops = table.confidence.shape[1]
    never = (NEVER_STOP,) * stops
    usable = [start for start in starts if table.cost(start)[1] <= allowed]
    local = [_descend(table, allowed, start, range(stops)) for start in (never, *usable)]
    local.append(_descend(table, allowed, never, range(stops)[::-1]))
    return min(local, key=table.cost)


def _descend(table: StopTable, allowed: int, start: Thresholds, order: Sequence[int]) -> Thresholds:
    best, cost = start, table.cost(start)
    while True:
        before = cost
        for stop in order:
            for candidate in CANDIDATES:
                changed = (*best[:stop], candidate, *best[stop + 1 :])
                outcome = table.cost(changed)
                if outcome[1] <= allowed and outcome < cost:
                    best, cost = changed, outcome
        if cost == before:
            return best
