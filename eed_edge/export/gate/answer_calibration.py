"""Calibrated answers: a temperature for each stop, and the probability below which an answer abstains.

Both are fitted on the calibration images for the gate as deployed. Temperatures make the probability of the
answer the share of such answers that are right, on clean images like those of calib. They were not fitted on
attacked or strange images, nor for another gate, cap or deadline, which stops other images at each stop.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from eed_edge.arrays import Doubles, Floats
from eed_edge.export.gate.calibration import MemberProbs
from eed_edge.gate_rules.gate_rule import MIN_PROB
from eed_edge.manifest import Abstain, GateSpec
from eed_edge.runtime.gates.early_exit import EarlyExitResult
from eed_edge.runtime.gates.replay import replay_rule

OTHER_IMAGES = 20.0
"""Weight, in images, of all calibration images together beside those that stop at a stop; some have few."""
LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures."""
UNSEEN = 1.0
"""Weight, in images, of one more with any label: a stop without an error on calib may still err."""
TIE = 1e-5
"""The threshold lies this far below the answer that it is to leave: rounding differs between machines."""


def fit_temperatures(answers: MemberProbs, gate: GateSpec) -> tuple[float, ...]:
    """Return the temperature of each stop, which minimises the cross-entropy of its answers on clean images.

    Args:
        gate: the rule as deployed.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
    """
    counts = np.arange(1, len(answers.clean) + 1)[:, None, None]
    means = np.cumsum(answers.clean, axis=0, dtype=np.float64) / counts
    prefix = _replayed(answers.clean, gate, None).answer_prefix
    others = OTHER_IMAGES / len(prefix)
    return tuple(
        _temperature(mean, answers.labels, (prefix == t) + others) for t, mean in enumerate(means, 1)
    )


def fit_abstain(
    answers: MemberProbs, gate: GateSpec, temperatures: tuple[float, ...], *, share: float
) -> Abstain:
    """Return the largest threshold that leaves ``share`` of the right answers, clean and under each attack.

    Args:
        gate, temperatures: as deployed.
        share: in [0, 1].
    """
    confidences = []  # of the right answers, rising, for each version of the images
    for version in (answers.clean, *answers.attacked):
        answer = _replayed(version, gate, temperatures)
        confidences.append(np.sort(answer.probs.max(1)[answer.labels == answers.labels]))
    lowest = [
        float(each[min(int((1 - share) * len(each) + 1e-9), len(each) - 1)])
        for each in confidences
        if len(each)
    ]
    threshold = min(1.0, max(0.0, min(lowest, default=0.0) - TIE))
    left = [float((each >= np.float32(threshold)).mean()) if len(each) else 1.0 for each in confidences]
    return Abstain(threshold, share, left[0], min(left[1:], default=1.0))


def _replayed(probs: Floats, gate: GateSpec, temperatures: tuple[float, ...] | None) -> EarlyExitResult:
    return replay_rule(
        probs,
        gate.rule,
        gate.parameters_of(gate.rule),
        max_submodels=gate.max_submodels,
        temperatures=temperatures,
    )


def _temperature(means: Doubles, labels: NDArray[np.int64], weights: Doubles) -> float:
    """Return the temperature of the least weighted cross-entropy, which is convex in its inverse."""
    logits = np.log(np.maximum(means, MIN_PROB))  # (n, k)
    of_label = logits[np.arange(len(labels)), labels]
    unseen = UNSEEN / float(weights.sum())
    target = (of_label + unseen * logits.mean(axis=1)) / (1 + unseen)

    def cross_entropy(inverse: float) -> float:
        return float(weights @ (logsumexp(logits * inverse, axis=1) - target * inverse))

    best = minimize_scalar(cross_entropy, bounds=(1 / HIGHEST, 1 / LOWEST), method="bounded")
    return 1 / float(best.x)
