"""Readers of user images: arrays in memory or in NPZ files, or a folder of pictures."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Uint8
from eed_edge.errors import DataError
from eed_edge.files.npz_archive import read_arrays
from eed_edge.images.picture_folder import is_picture_file
from eed_edge.manifest import InputSpec
from eed_edge.train.data.datasets import (
    Dataset,
    ImageSource,
    PictureSize,
    Split,
    input_spec,
    prepared,
    require_path,
)
from eed_edge.train.data.part_names import is_divided, roles
from eed_edge.train.data.picture_files import PictureFiles, picture_shapes

log = logging.getLogger(__name__)
DESKTOP_FILES = (".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX")


def npz_images(root: Path | None, size: PictureSize | None) -> Dataset:
    """One NPZ file, or a folder with ``train.npz`` and perhaps ``val.npz`` or ``test.npz``.

    Each has ``images`` ``(n, h, w)`` or ``(n, h, w, c)`` uint8 and ``labels`` ``(n,)``; the
    training file may have ``classes``, their names.
    """
    place = require_path(root, "an NPZ file or a folder with train.npz")
    files = sorted(place.glob("*.npz")) if place.is_dir() else []
    only = place / "train.npz" if place.is_dir() else place
    parts = roles({path.stem: path for path in files}, place) if files else {"train": only}
    path = parts["train"]
    pixels, labels, names = _arrays(path)
    spec = _spec(pixels, size)

    def read(part: str) -> Split:
        file = parts[part]
        shown, truth, _ = _arrays(file)
        if size is None and shown.shape[1:3] != spec.size[1:]:
            _refuse_size(file, shown.shape[1:3], spec.size[1:])
        return Split(prepared(shown, spec), truth)

    return Dataset(
        train=Split(prepared(pixels, spec), labels),
        read_test=(lambda: read("test")) if "test" in parts else None,
        classes=names or _numbered(path, labels),
        input=spec,
        held_out=read("val") if "val" in parts else None,
    )


def array_images(
    images: Uint8,
    labels: NDArray[np.int64],
    *,
    classes: Sequence[str] | None = None,
    held_out: tuple[Uint8, NDArray[np.int64]] | None = None,
    test: tuple[Uint8, NDArray[np.int64]] | None = None,
    size: PictureSize | None = None,
) -> Dataset:
    """A data set of arrays in memory.

    Args:
        images: ``(n, h, w)`` or ``(n, h, w, c)`` uint8; they are copied.
        labels: ``(n,)`` whole numbers from 0.
        classes: their names; None takes the numbers.
        held_out: images and labels for tune and calib; None draws them from ``images``.
        test: images and labels of the test part; None holds back a share.

    Raises:
        DataError: the arrays are unfit.
    """
    names = None if classes is None else np.array(list(classes))
    pixels, labels, known = _check_arrays("images", images, labels, names)
    spec = _spec(pixels, size)

    def made(part: tuple[Uint8, NDArray[np.int64]], name: str) -> Split:
        shown, truth, _ = _check_arrays(name, *part, None)
        if size is None and shown.shape[1:3] != spec.size[1:]:
            _refuse_size(Path(name), shown.shape[1:3], spec.size[1:])
        return Split(prepared(shown, spec), truth)

    return Dataset(
        train=Split(prepared(pixels, spec), labels),
        read_test=None if test is None else lambda: made(test, "test"),
        classes=known or _numbered("labels", labels),
        input=spec,
        held_out=None if held_out is None else made(held_out, "held_out"),
    )


def folder_images(root: Path | None, size: PictureSize | None) -> Dataset:
    """One subfolder of pictures per class, or ``train/`` with such subfolders beside ``val/`` or ``test/``.

    Hidden files and files without a picture's suffix are skipped; the order is shuffled with a fixed seed.
    """
    place = require_path(root, "a folder with one subfolder per class")
    parts = _folder_parts(place)
    classes, files = _training_files(parts)
    shapes = picture_shapes([path for path, _ in files])
    spec = input_spec(int(shapes[:, 2].max()), size or (int(shapes[0, 0]), int(shapes[0, 1])))
    if size is None:
        _check_shapes(files, shapes, spec)

    def pictures(part: str) -> PictureFiles:
        listed = _files(_class_folders(parts[part]), classes)
        if size is None:
            _check_shapes(listed, picture_shapes([path for path, _ in listed]), spec)
        return _shuffled(listed, spec)

    def read_test() -> Split:
        test = pictures("test")
        return test[np.arange(len(test))]

    return Dataset(
        train=_shuffled(files, spec),
        read_test=read_test if "test" in parts else None,
        classes=classes,
        input=spec,
        held_out=pictures("val") if "val" in parts else None,
    )


def listed_pictures(place: Path) -> tuple[tuple[str, ...], dict[str, list[tuple[Path, int]]]]:
    """The classes of a folder, and every picture's path and label by the part: ``train``, ``val``, ``test``.

    Raises:
        DataError: the folder is no set of pictures.
    """
    parts = _folder_parts(require_path(place, "a folder with one subfolder per class"))
    classes, files = _training_files(parts)
    others = {name: _files(_class_folders(part), classes) for name, part in parts.items() if name != "train"}
    return classes, {"train": files, **others}


def _folder_parts(place: Path) -> dict[str, Path]:
    folders = {part.name: part for part in _subfolders(place)}
    nested = {name: part for name, part in folders.items() if _subfolders(part)}
    if folders and not nested and all(is_divided({name: part}) for name, part in folders.items()):
        raise DataError(
            f"{place}: expected one subfolder per class in each of {', '.join(folders)}, got pictures of no"
            " class; sort them into subfolders"
        )
    return roles(nested, place) if is_divided(nested) else {"train": place}


def _training_files(parts: dict[str, Path]) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    """The classes, which are the subfolders of train, and its pictures."""
    folders = _class_folders(parts["train"])
    classes = tuple(part.name for part in folders)
    return classes, _files(folders, classes)


def calibration_images(place: Path, classes: tuple[str, ...], spec: InputSpec) -> ImageSource:
    """The images of an NPZ file or of a folder with a subfolder per class, prepared as another set's.

    Args:
        classes: the set's; a folder's subfolders have these names, an NPZ file's labels these numbers.

    Raises:
        DataError: the files are missing, damaged or of other classes.
    """
    if not require_path(place, "the pictures of data.calib_from").is_dir():
        pixels, labels, names = _arrays(place)
        if names is not None and names != classes:
            raise DataError(
                f"{place}: expected the classes {', '.join(classes):.80}, got others; order them so"
            )
        return Split(prepared(pixels, spec), labels)
    return _shuffled(_files(_class_folders(place), classes), spec)


def _arrays(path: Path) -> tuple[Uint8, NDArray[np.int64], tuple[str, ...] | None]:
    """Pictures ``(n, h, w, c)``, labels ``(n,)`` and the classes' names, if the file has them."""
    try:
        arrays = read_arrays(path, ["images", "labels"], optional=["classes"])
    except Exception as error:  # a damaged archive raises many types
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DataError(
            f"{path}: expected an NPZ file with images and labels, got: {reason:.160}; write it again"
        ) from error
    return _check_arrays(path, arrays["images"], arrays["labels"], arrays.get("classes"))


def _check_arrays(
    path: Path | str, images: Uint8, labels: NDArray[np.int64], classes: NDArray[np.str_] | None
) -> tuple[Uint8, NDArray[np.int64], tuple[str, ...] | None]:
    """Check arrays that have been read; returns the same as ``_arrays``."""
    pixels = images[..., None] if images.ndim == 3 else images
    if images.ndim and not len(images):
        raise DataError(f"{path}: expected at least one image, got none; add some")
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3, 4) or pixels.dtype != np.uint8 or not pixels.size:
        raise DataError(
            f"{path}: expected images (n, h, w) or (n, h, w, c) uint8, c 1, 3 or 4,"
            f" got {images.shape} {images.dtype}; convert them"
        )
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path}: expected labels ({len(images)},) of whole numbers,"
            f" got {labels.shape} {labels.dtype}; number the classes from 0, one label per image"
        )
    if classes is not None and (classes.ndim != 1 or classes.dtype.kind != "U"):
        raise DataError(
            f"{path}: expected classes as a list of names, got {classes.shape} {classes.dtype}; fix it"
        )
    return pixels, labels.astype(np.int64), None if classes is None else tuple(map(str, classes))


def _numbered(path: Path | str, labels: NDArray[np.int64]) -> tuple[str, ...]:
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


def _class_folders(place: Path) -> list[Path]:
    folders = _subfolders(place)
    if not folders:
        raise DataError(
            f"{place}: expected one subfolder of pictures per class, got no subfolder; sort the pictures"
        )
    return folders


def _shuffled(files: Sequence[tuple[Path, int]], spec: InputSpec) -> PictureFiles:
    order = np.random.default_rng(0).permutation(len(files))
    labels = np.array([label for _, label in files], np.int64)
    return PictureFiles([files[place][0] for place in order], labels[order], spec)


def _check_shapes(files: Sequence[tuple[Path, int]], shapes: NDArray[np.int64], spec: InputSpec) -> None:
    for (path, _), shape in zip(files, shapes[:, :2].tolist(), strict=True):
        if tuple(shape) != spec.size[1:]:
            _refuse_size(path, shape, spec.size[1:])


def _spec(pixels: Uint8, size: PictureSize | None) -> InputSpec:
    """The input for pictures ``(n, h, w, c)``."""
    height, width, channels = pixels.shape[1:]
    return input_spec(1 if channels == 1 else 3, size or (height, width))


def _files(parts: Sequence[Path], classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Every picture's path and label."""
    files: list[tuple[Path, int]] = []
    for part in parts:
        if part.name not in classes:
            raise DataError(f"{part}: expected a class of train/, got {part.name!r}; rename or remove it")
        inside = sorted(path for path in part.iterdir() if _is_picture(path))
        if not inside:
            remedy = "add some or remove the folder"
            if _subfolders(part):
                remedy = f"choose {part} if its subfolders are the classes"
            raise DataError(f"{part}: expected PNG or JPEG pictures, got none; {remedy}")
        files += [(path, classes.index(part.name)) for path in inside]
    return files


def _is_picture(path: Path) -> bool:
    """Whether the entry is read; a pipe or device with a picture's name is, so that its error names it."""
    return not _is_desktop_file(path) and is_picture_file(path)


def _is_desktop_file(path: Path) -> bool:
    """Whether a desktop system has left the file there; if so, it is logged."""
    left = path.name in DESKTOP_FILES or path.name.startswith("._")
    if left:
        log.info("%s: skipped, a file that desktop systems leave behind", path)
    return left


def _refuse_size(path: Path, got: Sequence[int], expected: Sequence[int]) -> None:
    raise DataError(
        f"{path}: expected {expected[0]}x{expected[1]} pixels (height x width) as the first image has,"
        f" got {got[0]}x{got[1]}; set data.size to bring all to one size"
    )
