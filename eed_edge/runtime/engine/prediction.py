"""The result of one call: probabilities, labels, how many sub-models ran, and which answers abstain."""

from dataclasses import dataclass
from struct import Struct

import numpy as np

from eed_edge.arrays import Bools, Floats, Ints
from eed_edge.gate_rules.gate_rule import Vector
from eed_edge.manifest import Manifest


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


def abstain_below(manifest: Manifest) -> float:
    """Return the probability below which an answer abstains, as float32 rounds it; 0: none does."""
    return 0.0 if manifest.abstain is None else float(np.float32(manifest.abstain.threshold))


def one_prediction(
    mean: Vector,
    used: int,
    prefix: int,
    failed: tuple[int, ...],
    *,
    float32: Struct,
    abstain_below: float,
) -> Prediction:
    """Return the answer for a single image in as few Python steps as possible.

    Args:
        mean: ``k`` probabilities.
        float32: ``Struct("kf")``, for rounding.
        abstain_below: as ``abstain_below`` returns it.
    """
    packed = float32.pack(*mean)
    values = float32.unpack(packed)
    largest = max(values)
    ran = np.array((used,))
    prediction = object.__new__(Prediction)
    fields = {
        "probs": np.ndarray((1, len(values)), np.float32, bytearray(packed)),
        "labels": np.array((values.index(largest),)),
        "submodels_used": ran,
        "answer_prefix": ran if used == prefix else np.array((prefix,)),
        "complete": True,
        "failed_submodels": failed,
        "abstained": np.array((largest < abstain_below,)),
    }
    object.__setattr__(prediction, "__dict__", fields)  # one step; the class sets a field at a time
    return prediction
