"""Survey of a user's pictures: classes, counts, sizes, channels, and whether mirroring harms."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Uint8
from eed_edge.images.preprocess import prepare_uint8
from eed_edge.train.data.datasets import Dataset, ImageSource, PictureSize, Split, input_spec
from eed_edge.train.data.picture_files import PictureFiles, picture_shapes
from eed_edge.train.data.user_images import listed_pictures, npz_images

COMPARED = 600
"""Pictures whose mirror images are compared with the classes, at most."""
THUMBNAIL = 16
"""Side of the grey pictures that are compared."""
ONE_SIDED = re.compile(r"^.$|(^|[^a-z])(left|right)([^a-z]|$)", re.IGNORECASE)
"""Names of classes that a mirror changes: single characters, and those that name a side."""


@dataclass(frozen=True, eq=False)
class PictureSurvey:
    """The figures of a set.

    kind: the recipe's ``data.name``: ``folder`` or ``npz``.
    counts: pictures by part: ``train``, and ``val`` and ``test`` where they are.
    of_class: training pictures of each class, ``(classes,)``.
    of_val: those of val, or None where there is no such part.
    heights, widths: of the training pictures, ``(n,)``.
    nearest: share of pictures that are nearest to their own class's mean, as they are and mirrored.
    flip: mirrored pictures may be trained on.
    """

    kind: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    of_class: NDArray[np.int64]
    of_val: NDArray[np.int64] | None
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    channels: int
    nearest: tuple[float, float]
    flip: bool


def survey(place: Path) -> PictureSurvey:
    """Survey a folder of pictures or NPZ files.

    Raises:
        DataError: it is no set of pictures.
        DeviceError: Pillow is not installed.
    """
    if place.suffix.lower() == ".npz" or (place.is_dir() and any(place.glob("*.npz"))):
        return _survey_arrays(place)
    classes, parts = listed_pictures(place)
    paths, labels = [path for path, _ in parts["train"]], np.array([label for _, label in parts["train"]])
    shapes = picture_shapes(paths)
    small = PictureFiles(paths, labels, input_spec(1, PictureSize(THUMBNAIL)))
    counts = {name: len(files) for name, files in parts.items()}
    val = np.array([label for _, label in parts["val"]]) if "val" in parts else None
    return _surveyed("folder", classes, counts, shapes, small, val=val)


def _survey_arrays(place: Path) -> PictureSurvey:
    return survey_dataset(npz_images(place, None), kind="npz")


def survey_dataset(source: Dataset, *, kind: str) -> PictureSurvey:
    """Survey a set of arrays in memory.

    Args:
        kind: the recipe's ``data.name``.
    """
    assert isinstance(source.train, Split)
    counts = {"train": len(source.train)}
    if source.held_out is not None:
        counts["val"] = len(source.held_out)
    if source.read_test is not None:
        counts["test"] = len(source.read_test())
    channels, height, width = source.input.size
    shapes = np.tile((height, width, channels), (len(source.train), 1))
    val = None if source.held_out is None else source.held_out.labels
    return _surveyed(kind, source.classes, counts, shapes, source.train, val=val)


def _surveyed(
    kind: str,
    classes: tuple[str, ...],
    counts: dict[str, int],
    shapes: NDArray[np.int64],
    train: ImageSource,
    *,
    val: NDArray[np.int64] | None,
) -> PictureSurvey:
    drawn = np.random.default_rng(0).permutation(len(train))[:COMPARED]
    shown = train[drawn]
    harms, nearest = mirroring_harms(_thumbnails(shown.images), shown.labels)
    return PictureSurvey(
        kind=kind,
        classes=classes,
        counts=counts,
        of_class=np.bincount(train.labels, minlength=len(classes)),
        of_val=None if val is None else np.bincount(val, minlength=len(classes)),
        heights=shapes[:, 0],
        widths=shapes[:, 1],
        channels=int(shapes[:, 2].max()),
        nearest=nearest,
        flip=not harms and not any(ONE_SIDED.search(name) for name in classes),
    )


def mirroring_harms(images: Uint8, labels: NDArray[np.int64]) -> tuple[bool, tuple[float, float]]:
    """Whether mirrored pictures are nearest to their own class's mean clearly less often than the originals.

    Args:
        images: ``(n, h, w)`` grey.

    Returns:
        The answer, and both shares. A picture is left out of its own class's mean.
    """
    pixels = images.reshape(len(images), -1).astype(np.float64)
    mirrored = images[:, :, ::-1].reshape(len(images), -1).astype(np.float64)
    counts = np.bincount(labels)
    sums = np.zeros((len(counts), pixels.shape[1]))
    np.add.at(sums, labels, pixels)
    right = [_nearest(shown, pixels, labels, sums, counts) for shown in (pixels, mirrored)]
    lost, gained = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    clear = lost - gained > 2 * (lost + gained) ** 0.5
    return clear, (float(right[0].mean()), float(right[1].mean()))


def _nearest(
    shown: NDArray[np.float64],
    originals: NDArray[np.float64],
    labels: NDArray[np.int64],
    sums: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether each picture shown is nearest to the mean of its class without the picture itself."""
    right = np.zeros(len(shown), np.bool_)
    for i, (picture, itself, label) in enumerate(zip(shown, originals, labels, strict=True)):
        means, present = sums.copy(), counts.copy()
        means[label] -= itself
        present[label] -= 1
        distance = ((means / np.maximum(present, 1)[:, None] - picture) ** 2).sum(1)
        right[i] = np.where(present > 0, distance, np.inf).argmin() == label
    return right


def _thumbnails(images: Uint8) -> Uint8:
    """Grey pictures ``(n, THUMBNAIL, THUMBNAIL)`` of ``(n, c, h, w)``."""
    spec = input_spec(1, PictureSize(THUMBNAIL))
    pictures: Sequence[Uint8] = images.transpose(0, 2, 3, 1)  # type: ignore[assignment]
    return np.stack([prepare_uint8(np.ascontiguousarray(picture), spec)[0] for picture in pictures])
