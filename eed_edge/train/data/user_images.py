"""Readers of user images: arrays in NPZ files, or a folder of pictures."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Uint8
from eed_edge.errors import DataError, InputError
from eed_edge.images.preprocess import prepare_uint8, read_picture
from eed_edge.npz_archive import read_arrays
from eed_edge.train.data.datasets import (
    Dataset,
    Split,
    input_spec,
    prepared,
    require_path,
)

log = logging.getLogger(__name__)
DESKTOP_FILES = (".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm")


def npz_images(root: Path | None, size: int | None) -> Dataset:
    """One NPZ file, or a folder with ``train.npz`` and, if there is a test part, ``test.npz``.

    Each has ``images`` ``(n, h, w)`` or ``(n, h, w, c)`` uint8 and ``labels`` ``(n,)``; the
    training file may have ``classes``, their names.
    """
    place = require_path(root, "an NPZ file or a folder with train.npz")
    path, test = (place / "train.npz", place / "test.npz") if place.is_dir() else (place, None)
    pixels, labels, names = _arrays(path)
    height, width = (size, size) if size else pixels.shape[1:3]
    spec = input_spec(1 if pixels.shape[3] == 1 else 3, height, width)

    def read_test(file: Path) -> Split:
        shown, truth, _ = _arrays(file)
        if size is None and shown.shape[1:3] != (height, width):
            _refuse_size(file, shown.shape[1:3], (height, width))
        return Split(prepared(shown, spec), truth)

    return Dataset(
        train=Split(prepared(pixels, spec), labels),
        read_test=(lambda: read_test(test)) if test is not None and test.exists() else None,
        classes=names or _numbered(path, labels),
        input=spec,
    )


def folder_images(root: Path | None, size: int | None) -> Dataset:
    """One subfolder of pictures per class, or ``train/`` and ``test/`` with such subfolders inside.

    Hidden files and files without a picture's suffix are skipped; the order is shuffled with a fixed seed.
    """
    place = require_path(root, "a folder with one subfolder per class")
    apart = [part.name for part in _subfolders(place)] == ["test", "train"]
    parts = _subfolders(place / "train" if apart else place)
    classes = tuple(part.name for part in parts)
    train = _pictures(parts, classes, (size, size) if size else None, resize=bool(size))
    channels, height, width = train.images.shape[1:]

    def read_test() -> Split:
        tests = _subfolders(place / "test")
        return _pictures(tests, classes, (height, width), resize=bool(size), channels=channels)

    return Dataset(train, read_test if apart else None, classes, input_spec(channels, height, width))


def _arrays(path: Path) -> tuple[Uint8, NDArray[np.int64], tuple[str, ...] | None]:
    """Pictures ``(n, h, w, c)``, labels ``(n,)`` and the classes' names, if the file has them."""
    try:
        arrays = read_arrays(path, ["images", "labels"], optional=["classes"])
    except Exception as error:  # a damaged archive raises many types
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DataError(
            f"{path}: expected an NPZ file with images and labels, got: {reason:.160}; write it again"
        ) from error
    images, labels, classes = arrays["images"], arrays["labels"], arrays.get("classes")
    pixels = images[..., None] if images.ndim == 3 else images
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3, 4) or pixels.dtype != np.uint8 or not pixels.size:
        raise DataError(
            f"{path}: expected images (n, h, w) or (n, h, w, c) uint8, c 1, 3 or 4,"
            f" got {images.shape} {images.dtype}; convert them"
        )
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path}: expected labels ({len(images)},) of whole numbers,"
            f" got {labels.shape} {labels.dtype}; write one per image"
        )
    if classes is not None and (classes.ndim != 1 or classes.dtype.kind != "U"):
        raise DataError(
            f"{path}: expected classes as a list of names, got {classes.shape} {classes.dtype}; fix it"
        )
    return pixels, labels.astype(np.int64), None if classes is None else tuple(map(str, classes))


def _numbered(path: Path, labels: NDArray[np.int64]) -> tuple[str, ...]:
    present = np.unique(labels)
    if present[0] != 0 or present[-1] != len(present) - 1:
        raise DataError(
            f"{path}: expected labels 0, 1, … without a gap, got {len(present)} classes"
            f" from {present[0]} to {present[-1]}; renumber them"
        )
    return tuple(map(str, present))


def _subfolders(place: Path) -> list[Path]:
    if not place.is_dir():
        raise DataError(
            f"{place}: expected a folder with one subfolder per class, got a file; name the folder"
        )
    parts = sorted(part for part in place.iterdir() if part.is_dir() and not part.name.startswith("."))
    return [part for part in parts if not _is_desktop_file(part)]


def _pictures(
    parts: Sequence[Path],
    classes: tuple[str, ...],
    shape: tuple[int, int] | None,
    *,
    resize: bool,
    channels: int | None = None,
) -> Split:
    """All pictures of these subfolders.

    Args:
        shape: height and width; None takes the first picture's.
        resize: scale pictures of another shape instead of refusing them.
        channels: 1 or 3; None takes 3 unless all pictures are grey.
    """
    images: list[Uint8] = []
    labels: list[int] = []
    for path, label in _files(parts, classes):
        try:
            picture = read_picture(path, resized_to=shape if resize else None)
        except InputError as error:
            raise DataError(str(error)) from error
        shape = shape or (picture.shape[0], picture.shape[1])
        if not resize and picture.shape[:2] != shape:
            _refuse_size(path, picture.shape[:2], shape)
        image_channels = 1 if picture.ndim == 2 else 3
        images.append(prepare_uint8(picture, input_spec(channels or image_channels, *shape)))
        labels.append(label)
    most = max((len(image) for image in images), default=1)
    same = [np.repeat(image, most // len(image), axis=0) for image in images]
    order = np.random.default_rng(0).permutation(len(labels))
    return Split(np.stack([same[i] for i in order]), np.array(labels, np.int64)[order])


def _files(parts: Sequence[Path], classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Every picture's path and label."""
    files: list[tuple[Path, int]] = []
    for part in parts:
        if part.name not in classes:
            raise DataError(f"{part}: expected a class of train/, got {part.name!r}; rename or remove it")
        inside = sorted(path for path in part.iterdir() if _is_picture(path))
        if not inside:
            raise DataError(f"{part}: expected PNG or JPEG pictures, got none; add some or remove the folder")
        files += [(path, classes.index(part.name)) for path in inside]
    if not files:
        raise DataError("expected one subfolder of pictures per class, got no subfolder; sort the pictures")
    return files


def _is_picture(path: Path) -> bool:
    """Whether to read it; pipes and devices with a picture's name are, and refused by name."""
    if _is_desktop_file(path):
        return False
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def _is_desktop_file(path: Path) -> bool:
    """Whether a desktop has left it there, which is logged."""
    left = path.name in DESKTOP_FILES or path.name.startswith("._")
    if left:
        log.info("%s: passed over, a file that desktops leave", path)
    return left


def _refuse_size(path: Path, got: Sequence[int], expected: tuple[int, int]) -> None:
    raise DataError(
        f"{path}: expected {expected[0]}x{expected[1]} pixels (height x width) as the first image has,"
        f" got {got[0]}x{got[1]}; set data.size to bring all to one size"
    )
