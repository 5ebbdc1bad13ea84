"""Near-ties: decisions whose margin is within rounding error and may differ between machines."""

import numpy as np

from eed_edge.arrays import Bools, Doubles, Floats
from eed_edge.gate_rules.gate_rule import Memory, Parameters, StageOutput, lead
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.runtime.gates.replay import replay_rule

TOLERANCE = 1e-5
TIE_TOLERANCES = {"float32": TOLERANCE, "int8": 0.02}
"""By the manifest's precision. In int8 a value halfway between two steps of the quantiser falls to either
one as float arithmetic rounds, which depends on processor, runtime and batch; the next layers see a step."""


def near_ties(
    probs: Floats,
    rule: str,
    parameters: Parameters,
    *,
    tolerance: float = TOLERANCE,
    max_submodels: int | None = None,
) -> Bools:
    """Mark the images for which a comparison behind the answer was within ``tolerance`` of a tie.

    Args:
        probs: ``(members, n, k)`` float32, NaN rows for failures, as for ``replay_rule``.

    Returns:
        ``(n,)`` bool; where False, probabilities that differ by much less than ``tolerance`` give the
        same label and the same count of sub-models.
    """
    near: Bools = distance_to_tie(probs, rule, parameters, max_submodels=max_submodels) <= tolerance
    return near


def distance_to_tie(
    probs: Floats, rule: str, parameters: Parameters, *, max_submodels: int | None = None
) -> Doubles:
    """Return the margin of the closest comparison behind each answer, ``(n,)``.

    Args:
        probs: as for ``near_ties``.
    """
    answer = replay_rule(probs, rule, parameters, max_submodels=max_submodels)
    closest = lead(answer.probs).astype(np.float64)
    allowed = len(probs) if max_submodels is None else min(max_submodels, len(probs))
    memory: Memory = {}
    failures = np.logical_or.reduce(np.isnan(probs), axis=2)  # (members, n)
    usable = np.where(failures[:, :, None], np.float32(0), probs)
    valid = np.cumsum(~failures, axis=0)
    means = np.cumsum(usable, axis=0, dtype=np.float64) / np.maximum(valid, 1)[:, :, None]
    for t in range(1, allowed):  # the rule is not asked after the last sub-model
        stage = StageOutput(t, usable[t - 1], means[t - 1], failures[t - 1], valid[t - 1])
        margin = GATE_RULES[rule].margin(stage, memory, parameters)
        ran = answer.submodels_used >= t
        closest[ran] = np.minimum(closest, margin)[ran]
    return closest
