"""Read image sets from NPZ files with the arrays ``images`` and, optionally, ``labels``."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Ints
from eed_edge.errors import InputError


def read_npz(path: Path) -> tuple[NDArray[np.uint8], Ints | None]:
    """Return images ``(n, h, w, c)`` uint8 and labels ``(n,)`` int64, or None without labels.

    Raises:
        InputError: the file cannot be read, or its arrays have another shape or type.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images = arrays["images"]
            labels = arrays.get("labels")
    except Exception as error:  # a damaged archive can raise anything
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: expected an NPZ file with images, got: {reason:.120}; write it again"
        ) from error
    if images.ndim != 4 or images.dtype != np.uint8:
        raise InputError(
            f"{path}: expected images (n, h, w, c) uint8, got {images.shape} {images.dtype}; convert them"
        )
    if labels is None:
        return images, None
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise InputError(
            f"{path}: expected labels ({len(images)},) integers, got {labels.shape} {labels.dtype}"
        )
    return images, labels.astype(np.int64)
