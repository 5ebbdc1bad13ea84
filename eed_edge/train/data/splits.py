"""Splits of a data set: train, tune, calib and test; test is read on first access.

``train`` is for gradients, ``tune`` chooses checkpoints, members and their order, ``calib`` sets
the gate, ``test`` is for evaluation only.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from eed_edge import seeds
from eed_edge.arrays import Uint8
from eed_edge.errors import DataError, RecipeError
from eed_edge.manifest import InputSpec
from eed_edge.recipe import Data, Recipe
from eed_edge.suggestions import expected_one_of
from eed_edge.train.data import datasets, user_images
from eed_edge.train.data.datasets import Dataset, ImageSource, PictureSize, Split
from eed_edge.train.data.division import divide
from eed_edge.train.data.images_in_memory import ARRAYS, ImagesInMemory, dataset_in_memory

__all__ = ["DATASETS", "Split", "Splits", "load_splits", "splits_for_recipe", "splits_from_arrays"]

log = logging.getLogger(__name__)
DATASETS: dict[str, Callable[[Path | None, PictureSize | None], Dataset]] = {
    "digits": datasets.digits,
    "cifar10": datasets.cifar10,
    "svhn": datasets.svhn,
    "npz": user_images.npz_images,
    "folder": user_images.folder_images,
}


@dataclass(frozen=True, eq=False)
class Splits:
    """A divided data set.

    input: the preprocessing that a device has to repeat.
    held_out: tune and calib are pictures of their own, not drawn from the training pictures.
    """

    train: Split
    tune: Split
    calib: Split
    classes: tuple[str, ...]
    input: InputSpec
    read_test: Callable[[], Split] = field(repr=False)
    held_out: bool = False

    @cached_property
    def test(self) -> Split:
        """The test part, read on first access.

        Raises:
            DataError: its files are missing, damaged or unfit.
        """
        test = self.read_test()
        _check_labels(test, self.classes, "test")
        if empty := np.flatnonzero(np.bincount(test.labels, minlength=len(self.classes)) == 0).tolist():
            names = ", ".join(self.classes[i] for i in empty)
            log.warning("test has no image of %d of the classes: %.80s; not judged", len(empty), names)
        return test


ImagesSource: TypeAlias = str | os.PathLike[str] | Splits | ImagesInMemory | None
"""A path, images in memory as ``dataset_in_memory`` takes them, or ``Splits``; None where none are needed."""


def load_splits(cfg: Data, root: Path | None, *, seed: int) -> Splits:
    """Read a data set and divide it at random; the same arguments give the same parts.

    Args:
        cfg: the recipe's section ``data``.
        root: the file or folder that holds the images; digits need none.
        seed: seed of the division.

    Raises:
        DataError: files that are missing, damaged or unfit, fewer than two classes, or too few images.
        DeviceError: a package that reads the set is not installed.
        RecipeError: an unknown name.
    """
    return divide_dataset(_read(cfg, root), cfg, seed=seed)


def splits_for_recipe(recipe: Recipe, root: ImagesSource) -> Splits:
    """Load and divide the images of a recipe.

    Args:
        root: file or folder of the images, images in memory as ``dataset_in_memory`` takes them, or
            ``Splits``, which are returned unchanged.

    Raises:
        DataError, DeviceError, RecipeError: as ``load_splits``.
    """
    if isinstance(root, Splits):
        return root
    if root is None or isinstance(root, (str, os.PathLike)):
        return load_splits(recipe.data, None if root is None else Path(root), seed=recipe.seed)
    return divide_dataset(dataset_in_memory(root, _size(recipe.data)), recipe.data, seed=recipe.seed)


def splits_from_arrays(
    recipe: Recipe,
    images: Uint8,
    labels: NDArray[np.int64],
    *,
    classes: Sequence[str] | None = None,
    held_out: tuple[Uint8, NDArray[np.int64]] | None = None,
    test: tuple[Uint8, NDArray[np.int64]] | None = None,
) -> Splits:
    """Divide arrays in memory as the recipe says; ``data.name`` is not used.

    Args:
        images, labels, classes, held_out, test: as in ``user_images.array_images``.

    Raises:
        DataError: arrays that are unfit, fewer than two classes, or too few images.
    """
    source = user_images.array_images(
        images, labels, classes=classes, held_out=held_out, test=test, size=_size(recipe.data)
    )
    return divide_dataset(source, recipe.data, seed=recipe.seed)


def divide_dataset(source: Dataset, cfg: Data, *, seed: int) -> Splits:
    """Divide a data set; with a part of its own for tune and calib, or ``cfg.calib_from``, train stays whole.

    Raises:
        DataError: fewer than two classes, or too few images of one.
    """
    _check_classes(source)
    apart = source.held_out
    if cfg.calib_from:
        apart = user_images.calibration_images(Path(cfg.calib_from), source.classes, source.input)
    learning, read_test = _hold_out(source, cfg.test, seed, needs=3 if apart is None else 1)
    split_seed = seeds.train_split_seed(seed)
    if apart is None:
        shares = {"tune": cfg.tune, "calib": cfg.calib}
        places = learning.places
        tune, calib, train = (
            source.train[places[part]]
            for part in divide(
                learning.labels, shares, "train", classes=source.classes, seed=split_seed, limit=cfg.limit
            )
        )
    else:
        train, tune, calib = _with_held_out(source, learning, apart, cfg, seed=split_seed)
    return Splits(train, tune, calib, source.classes, source.input, read_test, apart is not None)


def _with_held_out(
    source: Dataset, learning: "_Learning", apart: ImageSource, cfg: Data, *, seed: Sequence[int]
) -> tuple[Split, Split, Split]:
    """Train, tune and calib, the last two from ``apart``; a limit is shared out in proportion."""
    _check_labels(apart, source.classes, "the part for tune and calib")
    total = len(learning.labels) + len(apart)
    share = min(1.0, cfg.limit / total) if cfg.limit else 1.0
    drawn = max(len(source.classes), round(share * len(learning.labels)))
    (order,) = divide(learning.labels, {}, "train", classes=source.classes, seed=seed, limit=drawn)
    limit = max(2 * len(source.classes), round(share * len(apart))) if share < 1 else 0
    share_of_tune = {"tune": cfg.tune / (cfg.tune + cfg.calib)}
    first, second = divide(
        apart.labels, share_of_tune, "calib", classes=source.classes, seed=seed, limit=limit
    )
    return source.train[learning.places[order]], apart[first], apart[second]


@dataclass(frozen=True, eq=False)
class _Learning:
    """The images for train, tune and calib: their places in the set and their labels."""

    places: NDArray[np.intp]
    labels: NDArray[np.int64]


def _read(cfg: Data, root: Path | None) -> Dataset:
    if cfg.name == ARRAYS:
        raise DataError(
            "expected the images that this run was trained on, which were given in Python; give them again"
            " there, as in eed_edge.evaluate_bundle(run, bundle, data)"
        )
    if cfg.name not in DATASETS:
        raise RecipeError(f"data.name: {expected_one_of(DATASETS, cfg.name)}")
    return DATASETS[cfg.name](root, _size(cfg))


def _size(cfg: Data) -> PictureSize | None:
    return PictureSize(cfg.size, cfg.shorter_side or None) if cfg.size else None


def _hold_out(
    source: Dataset, test: float, seed: int, *, needs: int
) -> tuple[_Learning, Callable[[], Split]]:
    """The training images and a reader of the test part, held out where the set has none.

    Args:
        needs: images of each class that remain at least.
    """
    labels = source.train.labels
    if source.read_test is not None:
        return _Learning(np.arange(len(labels)), labels), source.read_test
    held_back, places = divide(
        labels, {"test": test}, "the other parts", classes=source.classes,
        seed=seeds.holdout_seed(seed), rest_needs=needs,
    )  # fmt: skip
    if isinstance(source.train, Split):  # a copy, so that the whole set can be given up
        return _Learning(places, labels[places]), partial(_same, source.train[held_back])
    return _Learning(places, labels[places]), partial(source.train.__getitem__, held_back)


def _same(split: Split) -> Split:
    return split


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


def _check_labels(split: ImageSource, classes: tuple[str, ...], part: str) -> None:
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0 or high >= len(classes):
        raise DataError(
            f"{part}: expected labels from 0 to {len(classes) - 1}, got {low} to {high}; renumber them"
        )
