"""Which decisions hang by a thread: machines may round them differently, so these are counted apart."""

from collections.abc import Mapping

import numpy as np

from eed_edge.arrays import Bools, Doubles, Floats
from eed_edge.runtime.gates import batch_rules
from eed_edge.runtime.gates.early_exit import Memory, StageOutput

TOLERANCE = 1e-5


def near_ties(
    probs: Floats,
    rule: str,
    parameters: Mapping[str, float],
    *,
    tolerance: float = TOLERANCE,
    max_submodels: int | None = None,
) -> Bools:
    """Images for which a comparison that led to the answer was within ``tolerance`` of a tie.

    Args:
        probs: ``(members, n, k)`` float32, NaN rows for failures, as ``gating.replay`` takes.

    Returns:
        ``(n,)`` bool; where False, probabilities that differ by much less than ``tolerance`` give the
        same label and the same count of sub-models.
    """
    near: Bools = distance_to_tie(probs, rule, parameters, max_submodels=max_submodels) <= tolerance
    return near


def distance_to_tie(
    probs: Floats, rule: str, parameters: Mapping[str, float], *, max_submodels: int | None = None
) -> Doubles:
    """By how much the closest comparison that led to the answer was decided, ``(n,)``.

    Args:
        probs: as in ``near_ties``.
    """
    answer = batch_rules.replay_rule(probs, rule, parameters, max_submodels=max_submodels)
    closest = _gap_of_two(answer.probs).astype(np.float64)
    last = len(probs) if max_submodels is None else min(max_submodels, len(probs))
    margins = _MARGINS[rule]
    memory: Memory = {}
    lost = np.logical_or.reduce(np.isnan(probs), axis=2)  # (members, n)
    usable = np.where(lost[:, :, None], np.float32(0), probs)
    valid = np.cumsum(~lost, axis=0)
    means = np.cumsum(usable, axis=0, dtype=np.float64) / np.maximum(valid, 1)[:, :, None]
    for t in range(1, last):  # nothing is compared after the last
        stage = StageOutput(t, usable[t - 1], means[t - 1], lost[t - 1], valid[t - 1])
        margin = margins(stage, memory, parameters)
        asked = answer.submodels_used >= t
        closest[asked] = np.minimum(closest, margin)[asked]
    return closest


def _confidence_margin(stage: StageOutput, memory: Memory, parameters: Mapping[str, float]) -> Doubles:
    margin: Doubles = np.abs(stage.mean.max(axis=1) - parameters["threshold"])
    return margin


def _agreement_margin(stage: StageOutput, memory: Memory, parameters: Mapping[str, float]) -> Doubles:
    """A vote or the mean's favourite could flip."""
    return np.minimum(_gap_of_two(stage.probs), _gap_of_two(stage.mean))


def _geometric_margin(stage: StageOutput, memory: Memory, parameters: Mapping[str, float]) -> Doubles:
    """The best value against what is left, and this stage's value against the best before it."""
    before = dict(memory)
    batch_rules.geometric(stage, memory, parameters)
    margin: Doubles = np.abs(memory["best"] - memory["left"])
    if before:
        value = before["left"] - memory["left"]  # q_t * left, since left falls to (1 - q_t) * left
        margin = np.minimum(margin, np.abs(value - before["best"]))
    return margin


_MARGINS = {
    "confidence": _confidence_margin,
    "agreement": _agreement_margin,
    "geometric": _geometric_margin,
}


def _gap_of_two(probs: Floats | Doubles) -> Doubles:
    """How far the most probable class is ahead of the next, ``(n,)``."""
    ahead: Doubles = np.diff(np.partition(probs, -2, axis=1)[:, -2:], axis=1)[:, 0]
    return ahead
