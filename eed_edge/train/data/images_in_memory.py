"""Images given in Python: arrays, torch data sets, or several of them by part."""

import os
from collections.abc import Mapping, Sized
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Uint8
from eed_edge.errors import DataError
from eed_edge.images.preprocess import from_pillow
from eed_edge.train.data.datasets import Dataset, PictureSize
from eed_edge.train.data.user_images import array_images

if TYPE_CHECKING:
    from torch.utils import data

Labelled: TypeAlias = Union[tuple[Any, ...], "data.Dataset[Any]"]
"""Images and labels, and perhaps the classes' names; or a data set of pairs."""
ImagesInMemory: TypeAlias = Labelled | Mapping[str, Labelled]
"""As ``dataset_in_memory`` takes them."""
ARRAYS = "arrays"
"""``data.name`` of a run whose images were given in Python."""
PARTS = ("train", "val", "test")


def dataset_in_memory(source: ImagesInMemory, size: PictureSize | None) -> Dataset:
    """Make a data set of arrays, a torch data set, or a mapping of parts.

    Args:
        source: ``(images, labels)`` or ``(images, labels, classes)``: images ``(n, h, w)``, ``(n, h, w, c)``
            or ``(n, c, h, w)``, uint8 or floats in [0, 1], which are rounded to uint8; labels ``(n,)`` whole
            numbers from 0; classes their names. Or a ``torch.utils.data.Dataset``, or anything with a length
            and an index, of pairs of image and label: leave random augmentation and normalisation out of its
            transform. Or a mapping with ``train`` and perhaps ``val``, which is for tune and calib, and
            ``test``.
        size: as in ``npz_images``.

    Example:
        >>> pixels = np.zeros((4, 8, 8), np.uint8)
        >>> pictures = dataset_in_memory((pixels, [0, 1, 0, 1], ["cat", "dog"]), None)
        >>> pictures.input.size, pictures.classes
        ((1, 8, 8), ('cat', 'dog'))

    Raises:
        DataError: something else, or arrays that are unfit.
    """
    parts = source if isinstance(source, Mapping) else {"train": source}
    if "train" not in parts or not parts.keys() <= set(PARTS):
        raise DataError(
            f"expected the parts train, val and test, got {', '.join(map(str, parts)) or 'none'};"
            " name them so"
        )
    read = {name: _labelled(part, name) for name, part in parts.items()}
    images, labels, classes = read["train"]
    return array_images(
        images,
        labels,
        classes=classes,
        held_out=read["val"][:2] if "val" in read else None,
        test=read["test"][:2] if "test" in read else None,
        size=size,
    )


def is_in_memory(source: Any) -> bool:
    """Whether the images are in memory, not at a path."""
    return source is not None and not isinstance(source, (str, os.PathLike))


def _labelled(source: Any, part: str) -> tuple[Uint8, NDArray[np.int64], tuple[str, ...] | None]:
    if isinstance(source, (tuple, list)):
        if len(source) not in (2, 3):
            raise DataError(
                f"{part}: expected (images, labels) or (images, labels, classes), got {len(source)}"
            )
        labels = np.asarray(source[1])
        classes = tuple(map(str, source[2])) if len(source) == 3 else None
        return _pixels(np.asarray(source[0]), part), labels, classes
    if not isinstance(source, Sized) or not hasattr(source, "__getitem__"):
        raise DataError(
            f"{part}: expected arrays (images, labels) or a data set with a length, got"
            f" {type(source).__name__}; give one of these"
        )
    pairs = [_pair(source[place], part, place) for place in range(len(source))]
    if not pairs:
        raise DataError(f"{part}: expected at least one image, got none; add some")
    if len({image.shape for image, _ in pairs}) != 1:
        raise DataError(
            f"{part}: expected images of one size, got {len(pairs)} of several; resize them in its transform"
        )
    return np.stack([image for image, _ in pairs]), np.array([label for _, label in pairs]), _classes(source)


def _pair(item: Any, part: str, place: int) -> tuple[Uint8, int]:
    """One item of a data set, its image ``(h, w, c)`` or ``(h, w)``."""
    try:
        image, label = item
        if hasattr(image, "getexif"):  # a PIL picture
            return from_pillow(image), int(label)
        return _pixels(np.asarray(image)[None], part)[0], int(label)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{part}[{place}]: expected an image and its label, got: {error}; change the data set"
        ) from error


def _classes(dataset: Any) -> tuple[str, ...] | None:
    """The names of the classes where a data set, or the one that it is a part of, has them."""
    while dataset is not None:
        if (names := getattr(dataset, "classes", None)) is not None:
            return tuple(map(str, names))
        dataset = getattr(dataset, "dataset", None)
    return None


def _pixels(images: NDArray[Any], part: str) -> Uint8:
    """uint8 ``(n, h, w)`` or ``(n, h, w, c)``."""
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3, 4):
        images = images.transpose(0, 2, 3, 1)
    if images.dtype.kind != "f":
        return images  # other types are refused with the shape
    low, high = (images.min(), images.max()) if images.size else (0, 0)
    if not (low >= 0 and high <= 1):
        raise DataError(
            f"{part}: expected floats in [0, 1], got {low:.4g} to {high:.4g}; leave mean and standard"
            " deviation out, the network normalises by itself, or give uint8"
        )
    return np.asarray(np.rint(images * 255), np.uint8)
