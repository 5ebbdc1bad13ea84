"""Read image sets from NPZ files with the arrays ``images`` and, optionally, ``labels``."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Ints
from eed_edge.errors import InputError
from eed_edge.files.npz_archive import ArrayHeader, read_arrays


def read_npz(path: Path) -> tuple[NDArray[np.uint8], Ints | None]:
    """Return images ``(n, h, w, c)`` uint8 and labels ``(n,)`` int64, or None without labels.

    Raises:
        InputError: the file cannot be read, unpacks to more than ``read_arrays`` allows, or its arrays
            have another shape or type.
    """
    return _read(path, pictures=True)


def read_images(path: Path) -> tuple[NDArray[Any], Ints | None]:
    """Return images of any shape and type, n of them, and labels ``(n,)`` int64, or None without labels.

    Raises:
        InputError: as ``read_npz``, but for shape and type of the images.
    """
    return _read(path, pictures=False)


def _read(path: Path, *, pictures: bool) -> tuple[NDArray[Any], Ints | None]:
    def check(headers: dict[str, ArrayHeader]) -> None:
        images, labels = headers["images"], headers.get("labels")
        if pictures and (len(images.shape) != 4 or images.dtype != np.uint8):
            raise InputError(
                f"{path}: expected images (n, h, w, c) uint8, got {images.shape!s:.80} {images.dtype!s:.80};"
                " convert them"
            )
        if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"):
            raise InputError(
                f"{path}: expected labels ({(images.shape or ('n',))[0]},) integers,"
                f" got {labels.shape!s:.80} {labels.dtype!s:.80}; write one per image"
            )

    try:
        arrays = read_arrays(path, ["images"], optional=["labels"], check=check)
    except InputError:
        raise
    except Exception as error:  # a damaged archive can raise anything
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: expected an NPZ file with images, got: {reason:.160}; write it again"
        ) from error
    labels = arrays.get("labels")
    return arrays["images"], None if labels is None else labels.astype(np.int64)
