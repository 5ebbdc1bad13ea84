"""Effect of the slowdown attack: sub-models run, time and accuracy of the deployed rule."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from eed_edge.arrays import Floats
from eed_edge.evaluate.models_compared import ModelsCompared
from eed_edge.report import wilson_interval
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.engine.prediction import Prediction
from eed_edge.runtime.measure.clock import Times, in_blocks, summary
from eed_edge.runtime.measure.conditions import conditions_between, snapshot
from eed_edge.train.data.batches import Images, as_float

TIMED_IMAGES = 1000
TIMED_ROUNDS = 2


def measure_slowdown(
    models: ModelsCompared,
    images: Images,
    attacked_pgd: Tensor,
    slowed: Tensor,
    *,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Measure work, time and accuracy of the deployed rule: the report's part ``slowdown``.

    Args:
        attacked_pgd: the same images attacked by PGD against the static mean, ``(n, c, h, w)`` in [0, 1].
        slowed: the same images under the slowdown attack, with its ``settings`` for the report.

    Returns:
        The part. Times are of single images, the first ``TIMED_IMAGES`` in ``TIMED_ROUNDS`` blocks of each
        set and cap; the lower cap is half of the members, rounded up.
    """
    uncapped = models.deployed
    capped = _capped(uncapped, (len(uncapped.submodels) + 1) // 2)
    tensors = {"clean": as_float(images.images), "pgd20": attacked_pgd, "slowdown": slowed}
    sets = {name: tensor.cpu().contiguous().numpy() for name, tensor in tensors.items()}
    labels, timed = images.labels.cpu().numpy(), min(len(images), TIMED_IMAGES)

    def run_one(net: Cascade, pixels: Floats, i: int) -> None:
        net(pixels[i : i + 1])

    calls = {
        (cap, name): partial(run_one, net, pixels)
        for cap, net in (("uncapped", uncapped), ("capped", capped))
        for name, pixels in sets.items()
    }
    before = snapshot()
    times = in_blocks({" ".join(key): call for key, call in calls.items()}, items=timed, rounds=TIMED_ROUNDS)
    conditions = conditions_between(before, snapshot())

    def figures(cap: str, net: Cascade) -> dict[str, dict[str, Any]]:
        return {
            name: _figures(net(pixels), labels) | _times(times[f"{cap} {name}"])
            for name, pixels in sets.items()
        }

    return {
        "images": len(images),
        "settings": settings | {"timed_images": timed},
        "conditions": conditions,
        "uncapped": figures("uncapped", uncapped),
        "capped": {"max_submodels": capped.max_submodels, **figures("capped", capped)},
    }


def _capped(deployed: Cascade, cap: int) -> Cascade:
    """Return the same rule over the same sessions with at most ``cap`` sub-models."""
    return Cascade(
        deployed.manifest,
        deployed.submodels,
        rule=deployed.rule,
        parameters=deployed.parameters,
        max_submodels=min(cap, deployed.max_submodels),
    )


def _figures(answer: Prediction, labels: NDArray[np.int64]) -> dict[str, Any]:
    correct = answer.labels == labels
    return {
        "mean": float(answer.submodels_used.mean()),
        "max": int(answer.submodels_used.max()),
        "accuracy": float(correct.mean()),
        "interval": wilson_interval(correct),
    }


def _times(times: Times) -> dict[str, float]:
    percentiles = summary(times)
    return {name: percentiles[name] for name in ("mean_ms", "p99_ms")}
