"""The result of one call: probabilities, labels, how many sub-models ran, and which answers to doubt."""

from dataclasses import dataclass

from eed_edge.arrays import Bools, Floats, Ints


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answers for ``n`` images.

    probs: ``(n, k)`` float32, the mean over the first ``answer_prefix`` sub-models, after the temperature of
        that stop where the manifest has temperatures.
    labels: ``(n,)`` int64, the most probable class; the first of equals.
    submodels_used: ``(n,)`` int64, sub-models that were run.
    answer_prefix: ``(n,)`` int64, at most ``submodels_used``; less only with the rule ``geometric``.
    complete: False when the deadline stopped early for at least one image.
    failed_submodels: sub-models, from 0, that failed for at least one image.
    abstained: ``(n,)`` bool, the label's probability is below the manifest's ``abstain.threshold``: the label
        is there all the same; False everywhere without such a threshold.
    """

    probs: Floats
    labels: Ints
    submodels_used: Ints
    answer_prefix: Ints
    complete: bool
    failed_submodels: tuple[int, ...]
    abstained: Bools
