"""How many images stay right, clean and attacked: dense base, static mean, deployed rule.

Under an attack, ``static`` means images made against the mean of all members; ``dynamic`` means
that the deployed rule, run by the runtime on the exported files, is right on the clean image and
on the images made against every prefix of the members.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eed_edge import report
from eed_edge.errors import InputError
from eed_edge.evaluate.cost import costs
from eed_edge.report import wilson
from eed_edge.runtime.bundle import load
from eed_edge.runtime.cascade import Cascade
from eed_edge.train import attacks, data
from eed_edge.train.batches import Images, in_order
from eed_edge.train.data import Split
from eed_edge.train.ensemble import Ensemble
from eed_edge.train.nets import Classifier
from eed_edge.train.run import Run, save_images

BATCH = 250
KEPT_IMAGES = 1000
"""Test images kept in the run folder, for ``bench``."""
PGD_STEPS = 20
Bools = NDArray[np.bool_]
Watch = Callable[[str, int, int], None]
"""Called with what is being done, the images done and the images in all."""


@dataclass(frozen=True)
class Defences:
    """What is compared: the dense base, the members as one network, and the deployed bundle."""

    dense: Classifier
    ensemble: Ensemble
    deployed: Cascade


@dataclass(frozen=True)
class Verdicts:
    """Which of ``n`` images each defence gets right, and the sub-models that the rule ran.

    dense, static, dynamic: ``(n,)`` bool.
    submodels_used: ``(n,)`` on the images that the static answer was judged on.
    """

    dense: Bools
    static: Bools
    dynamic: Bools
    submodels_used: NDArray[np.int64]

    def figures(self) -> dict[str, Any]:
        """The report's fields: fractions, Wilson intervals and the number of images."""
        by_name = {"dense": self.dense, "static": self.static, "dynamic": self.dynamic}
        return {
            **{name: float(right.mean()) for name, right in by_name.items()},
            "images": len(self.dense),
            "interval": {name: list(wilson(int(right.sum()), len(right))) for name, right in by_name.items()},
        }


def evaluate(
    run: Run, bundle: Path, root: Path | None, *, images: int | None, watch: Watch
) -> dict[str, Any]:
    """Judge the run's defences on test images and merge the figures into its ``report.json``.

    Args:
        root: where the images lie, as in training.
        images: how many test images, drawn by the recipe's seed; None takes all.

    Returns:
        The whole report.

    Raises:
        CheckpointError: joint training has not finished, or run and bundle do not belong together.
        InputError: more images than test has.
    """
    deployed = load(bundle, deadline_ms=math.inf)
    run.check_belongs(deployed.manifest)
    defences = Defences(run.base(), run.ensemble(), deployed)
    splits = data.for_recipe(run.recipe, root)
    run.check_data(splits)
    test = splits.test
    chosen = _drawn(len(test.labels), images, run.recipe.seed)
    kept = Split(test.images[chosen], test.labels[chosen])
    save_images(run.path / "evaluation.npz", Split(kept.images[:KEPT_IMAGES], kept.labels[:KEPT_IMAGES]))
    part = Images(torch.from_numpy(kept.images), torch.from_numpy(kept.labels))
    on_clean = clean(defences, part, watch)
    attacked = pgd20(defences, part, eps=run.recipe.base.eps_255 / 255, seed=run.recipe.seed, watch=watch)
    figures = {
        "machine": report.machine(),
        "commit": report.commit(),
        "seed": run.recipe.seed,
        "recipe": run.recipe.as_dict(),
        "accuracy": {"clean": on_clean.figures(), "pgd20": attacked.figures()},
        "submodels_used": {
            "clean": float(on_clean.submodels_used.mean()),
            "pgd20": float(attacked.submodels_used.mean()),
        },
        "rd": run.joint()["rd"],
        **costs(defences.dense, deployed.manifest),
    }
    return report.merge(run.path / "report.json", figures)


def _drawn(available: int, wanted: int | None, seed: int) -> NDArray[np.int64]:
    if wanted is None:
        return np.arange(available)
    if wanted > available:
        raise InputError(
            f"--images: expected at most the {available} test images, got {wanted}; ask for fewer"
        )
    return np.sort(np.random.default_rng(seed).permutation(available)[:wanted])


def clean(defences: Defences, images: Images, watch: Watch) -> Verdicts:
    """Every defence on the images as they are."""
    parts = []
    for batch, labels, done in _batches(images):
        answer = defences.deployed(_numpy(batch))
        right = answer.labels == labels.numpy()
        parts.append(
            (
                _right(defences.dense, batch, labels),
                _right(defences.ensemble, batch, labels),
                right,
                answer.submodels_used,
            )
        )
        watch("clean", done, len(images))
    return _join(parts)


def pgd20(defences: Defences, images: Images, *, eps: float, seed: int, watch: Watch) -> Verdicts:
    """PGD with 20 steps of a quarter of ``eps`` (2/255 at 8/255), one random start.

    Args:
        eps: radius in units of the [0, 1] range.
    """
    generator = torch.Generator().manual_seed(seed)

    def attack(net: nn.Module, batch: Tensor, labels: Tensor) -> Tensor:
        with attacks.frozen(net):
            return attacks.pgd(
                net, batch, labels, eps=eps, step=eps / 4, steps=PGD_STEPS, generator=generator
            )

    parts = []
    prefixes = [defences.ensemble.prefix(t + 1) for t in range(len(defences.ensemble.members))]
    for batch, labels, done in _batches(images):
        dense = _right(defences.dense, attack(defences.dense, batch, labels), labels)
        dynamic = defences.deployed(_numpy(batch)).labels == labels.numpy()
        for prefix in prefixes:
            attacked = attack(prefix, batch, labels)
            answer = defences.deployed(_numpy(attacked))
            dynamic &= answer.labels == labels.numpy()
        static = _right(defences.ensemble, attacked, labels)  # the last prefix is the whole ensemble
        parts.append((dense, static, dynamic, answer.submodels_used))
        watch("pgd20", done, len(images))
    return _join(parts)


def _batches(images: Images) -> Iterator[tuple[Tensor, Tensor, int]]:
    done = 0
    for batch, labels in in_order(images, BATCH):
        done += len(labels)
        yield batch, labels, done


def _right(net: nn.Module, images: Tensor, labels: Tensor) -> Bools:
    with torch.no_grad():
        right: Bools = (net(images).argmax(1) == labels).numpy()
    return right


def _numpy(images: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = images.contiguous().numpy()
    return array


def _join(parts: list[tuple[Bools, Bools, Bools, NDArray[np.int64]]]) -> Verdicts:
    return Verdicts(*(np.concatenate(column) for column in zip(*parts, strict=True)))
