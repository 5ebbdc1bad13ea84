"""Distribution shift: accuracy, work, calibration error and abstained answers of the deployed rule."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Bools, Floats
from eed_edge.errors import InputError
from eed_edge.evaluate.metrics.corruptions import (
    NO_CLASS,
    PARAMETERS,
    STRENGTHS,
    corrupt,
    no_class_images,
)
from eed_edge.evaluate.models_compared import ProgressCallback
from eed_edge.report import wilson
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.engine.prediction import Prediction
from eed_edge.runtime.gates.temperature import with_temperature
from eed_edge.train.data.batches import Images, images_at_once, in_order

BATCH = 250
BINS = 15
Change = Callable[[Floats, int], Floats]
"""Takes images and the place of the first of them in the whole set."""


def measure_shift(
    deployed: Cascade,
    images: Images,
    *,
    every: Images,
    attacked: Mapping[str, Floats] = MappingProxyType({}),
    seed: int,
    on_progress: ProgressCallback,
) -> dict[str, Any]:
    """The report's part ``shift``: clean, attacked, corrupted at three strengths, and images of no class.

    Args:
        images: test images; all are used for every corruption.
        every: test images that are judged clean: the calibration error of few of them is mostly noise.
        attacked: these images under attacks, by name, ``(n, c, h, w)`` each.
        seed: of the noise and of the images of no class.
    """
    changes: list[tuple[Change, dict[str, Any]]] = []
    changes += [(partial(_replaced, by=made), {"name": name}) for name, made in attacked.items()]
    for name in PARAMETERS:
        for strength in STRENGTHS:
            kind = {"name": name, "strength": strength}
            changes.append((partial(_corrupted, name=name, strength=strength, seed=seed), kind))
    changes += [(partial(_no_class, name=name, seed=seed), {"name": name}) for name in NO_CLASS]
    results = []
    for done, (change, kind) in enumerate(changes, 1):
        results.append((kind, _judge(deployed, images, change)))
        on_progress("shift", done * len(images), len(changes) * len(images))
    first, last = len(attacked), len(results) - len(NO_CLASS)
    return {
        "images": len(images),
        "clean": judge_clean(deployed, every),
        "attacked": [kind | judged.figures() for kind, judged in results[:first]],
        "corruptions": [kind | judged.figures() for kind, judged in results[first:last]],
        "no_class": [
            kind
            | {
                "images": len(images),
                "submodels_used": float(judged.submodels_used.mean()),
                "confidence": float(judged.confidence.mean()),
                "abstained": float(judged.abstained.mean()),
            }
            for kind, judged in results[last:]
        ],
    }


def judge_clean(deployed: Cascade, images: Images) -> dict[str, Any]:
    """Accuracy, work, calibration error and abstained answers on clean images, and their number."""
    return {"images": len(images), **_judge(deployed, images, _unchanged).figures()}


def expected_calibration_error(confidence: Floats, right: Bools, *, bins: int = BINS) -> float:
    """Expected calibration error: ``sum_b (n_b / n) * |accuracy_b - confidence_b|``.

    Args:
        confidence: ``(n,)`` probability of the answer, in [0, 1].
        right: ``(n,)`` whether the answer is right.
        bins: of equal width; bin b holds confidences in ``((b - 1) / bins, b / bins]``, the first 0, too.

    Returns:
        A number in [0, 1]; 0 is perfectly calibrated.

    Raises:
        InputError: no images, arrays of different length, or confidences outside [0, 1].

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3, after Naeini et al.,
        AAAI 2015; 15 bins as there.
    """
    if confidence.shape != right.shape or not len(right):
        raise InputError(
            f"expected confidences and verdicts of the same images, got {confidence.shape} and {right.shape}"
        )
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise InputError(f"expected confidences in [0, 1], got up to {confidence.max()}; give probabilities")
    exact = confidence.astype(np.float64)
    inside = np.clip(np.ceil(exact * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(inside, right, bins) - np.bincount(inside, exact, bins)  # n_b * (acc_b - conf_b)
    return float(np.abs(gap).sum() / len(right))


def uncalibrated_confidence(answer: Prediction, temperatures: Sequence[float] | None) -> Floats:
    """Return the ``(n,)`` largest probabilities as they were before the temperatures of the stops."""
    probs = answer.probs.astype(np.float64)
    if temperatures is not None:
        probs = with_temperature(probs, answer.answer_prefix, [1 / each for each in temperatures])
    confidence: Floats = np.minimum(probs.max(1), 1).astype(np.float32)
    return confidence


@dataclass(frozen=True)
class _Judged:
    """``(n,)`` each, of the deployed rule; ``uncalibrated`` is the confidence before the temperatures."""

    right: Bools
    confidence: Floats
    uncalibrated: Floats
    submodels_used: NDArray[np.int64]
    abstained: Bools

    def figures(self) -> dict[str, Any]:
        return {
            "accuracy": float(self.right.mean()),
            "interval": list(wilson(int(self.right.sum()), len(self.right))),
            "submodels_used": float(self.submodels_used.mean()),
            "ece": expected_calibration_error(self.confidence, self.right),
            "ece_uncalibrated": expected_calibration_error(self.uncalibrated, self.right),
            "abstained": float(self.abstained.mean()),
            "abstained_right": _share(self.abstained[self.right]),
            "abstained_wrong": _share(self.abstained[~self.right]),
        }


def _share(marked: Bools) -> float | None:
    return float(marked.mean()) if len(marked) else None


def _judge(deployed: Cascade, images: Images, change: Change) -> _Judged:
    answers, first = [], 0
    for batch, labels in in_order(images, images_at_once(images.images, BATCH)):
        answer = deployed(np.ascontiguousarray(change(batch.cpu().contiguous().numpy(), first)))
        confidence = np.minimum(answer.probs.max(1), 1)  # float32 may round a sum of shares above 1
        right = answer.labels == labels.cpu().numpy()
        before = uncalibrated_confidence(answer, deployed.manifest.temperatures)
        answers.append((right, confidence, before, answer.submodels_used, answer.abstained))
        first += len(labels)
    return _Judged(*(np.concatenate(column) for column in zip(*answers, strict=True)))


def _unchanged(images: Floats, first: int) -> Floats:
    return images


def _replaced(images: Floats, first: int, *, by: Floats) -> Floats:
    return by[first : first + len(images)]


def _corrupted(images: Floats, first: int, *, name: str, strength: int, seed: int) -> Floats:
    return corrupt(images, name, strength, seed=seed, first=first)


def _no_class(images: Floats, first: int, *, name: str, seed: int) -> Floats:
    return no_class_images(images, name, seed=seed, first=first)
