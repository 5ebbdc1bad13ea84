"""Splits of a data set: train, tune, calib and test; test is read on first access.

``train`` is for gradients, ``tune`` chooses checkpoints, members and their order, ``calib`` sets
the gate, ``test`` is for evaluation only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from eed_edge import seeds
from eed_edge.errors import DataError, RecipeError
from eed_edge.manifest import InputSpec
from eed_edge.recipe import Recipe
from eed_edge.train.data import datasets, user_images
from eed_edge.train.data.datasets import Dataset, Split

__all__ = ["DATASETS", "Split", "Splits", "load_splits", "splits_for_recipe"]

DATASETS: dict[str, Callable[[Path | None, int | None], Dataset]] = {
    "digits": datasets.digits,
    "cifar10": datasets.cifar10,
    "svhn": datasets.svhn,
    "npz": user_images.npz_images,
    "folder": user_images.folder_images,
}


@dataclass(frozen=True, eq=False)
class Splits:
    """A divided data set; ``input`` is the preprocessing that a device has to repeat."""

    train: Split
    tune: Split
    calib: Split
    classes: tuple[str, ...]
    input: InputSpec
    read_test: Callable[[], Split] = field(repr=False)

    @cached_property
    def test(self) -> Split:
        """The test part, read on first access.

        Raises:
            DataError: its files are missing, damaged or unfit.
        """
        test = self.read_test()
        _check_labels(test, self.classes, "test")
        return test


def load_splits(
    name: str,
    root: Path | None,
    *,
    seed: int,
    limit: int | None = None,
    size: int | None = None,
    tune: float = 0.1,
    calib: float = 0.1,
    test: float = 0.26,
) -> Splits:
    """Read a data set and divide it at random; the same arguments give the same parts.

    Args:
        name: a key of ``DATASETS``.
        root: the file or folder that holds it; digits need none.
        seed: seed of the division.
        limit: at most this many images for train, tune and calib together; 0 or None takes all.
        size: images become ``size`` x ``size``; 0 or None keeps the file's size (digits: 16).
        tune: share of the training images for choosing checkpoints and members.
        calib: share of the training images for the gate.
        test: share of all images held out when the set has no test part.

    Raises:
        DataError: files that are missing, damaged or unfit, fewer than two classes, or too few images.
        DeviceError: a package that reads the set is not installed.
        RecipeError: an unknown name.
    """
    if name not in DATASETS:
        raise RecipeError(f"data.name: expected one of {', '.join(DATASETS)}, got {name!r}")
    source = DATASETS[name](root, size or None)
    _check_classes(source)
    learning, read_test = _hold_out(source, test, seed)
    order = np.random.default_rng(seeds.train_split_seed(seed)).permutation(len(learning))[: limit or None]
    first = _share(tune, len(order))
    second = first + _share(calib, len(order))
    if len(order) - second < 2:
        raise DataError(
            f"expected images enough for train, tune and calib, got {len(order)};"
            " add some, raise data.limit or lower data.tune and data.calib"
        )
    return Splits(
        train=learning[order[second:]],
        tune=learning[order[:first]],
        calib=learning[order[first:second]],
        classes=source.classes,
        input=source.input,
        read_test=read_test,
    )


def splits_for_recipe(recipe: Recipe, root: Path | None) -> Splits:
    """Load and divide the images of a recipe; errors as in ``load_splits``."""
    cfg = recipe.data
    return load_splits(
        cfg.name,
        root,
        seed=recipe.seed,
        limit=cfg.limit,
        size=cfg.size,
        tune=cfg.tune,
        calib=cfg.calib,
        test=cfg.test,
    )


def _hold_out(source: Dataset, test: float, seed: int) -> tuple[Split, Callable[[], Split]]:
    """The training images and a reader of the test part, held out where the set has none."""
    if source.read_test is not None:
        return source.train, source.read_test
    order = np.random.default_rng(seeds.holdout_seed(seed)).permutation(len(source.train))
    held_back = _share(test, len(order))
    return source.train[order[held_back:]], partial(source.train.__getitem__, order[:held_back])


def _share(fraction: float, count: int) -> int:
    return max(1, round(fraction * count))


def _check_classes(source: Dataset) -> None:
    classes = source.classes
    if len(classes) < 2 or len(set(classes)) < len(classes) or "" in classes:
        raise DataError(
            f"expected two or more classes with different names, got {len(classes)}"
            f" ({', '.join(classes):.80}); a classifier needs distinct classes"
        )
    _check_labels(source.train, classes, "train")
    count = np.bincount(source.train.labels, minlength=len(classes))
    if not count.all():
        empty = classes[int(count.argmin())]
        raise DataError(f"expected images of every class, got none of {empty!r}; add some or leave it out")


def _check_labels(split: Split, classes: tuple[str, ...], part: str) -> None:
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0 or high >= len(classes):
        raise DataError(
            f"{part}: expected labels from 0 to {len(classes) - 1}, got {low} to {high}; number them anew"
        )
