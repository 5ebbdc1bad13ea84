"""Validate a batch of images against the manifest, in one pass over the pixels."""

from typing import Any

import numpy as np

from eed_edge.errors import InputError

FLOAT32, _BITS = np.dtype(np.float32), np.dtype(np.uint32)
ONE = int(np.float32(1).view(np.uint32))  # the bits of 1.0


def check_images(images: Any, size: tuple[int, int, int]) -> None:
    """Raise unless ``images`` is ``(n, *size)`` float32 in [0, 1]; n may be 0.

    Raises:
        InputError: another type, shape or range, or NaN.
    """
    if not isinstance(images, np.ndarray) or images.dtype != FLOAT32:
        got = f"{images.dtype}" if isinstance(images, np.ndarray) else type(images).__name__
        raise InputError(f"expected a numpy array of float32, got {got}; convert it and scale it to [0, 1]")
    if images.shape[1:] != size or images.ndim != 4:
        expected = f"images (n, {', '.join(map(str, size))})"
        if images.shape == size:
            raise InputError(f"expected {expected}, got one image {size}; add a batch axis: images[None]")
        raise InputError(f"expected {expected}, got {images.shape}; resize them, with the axes n, c, h, w")
    # The bits of non-negative floats sort like their values, so one maximum finds a pixel above 1 or NaN.
    # The bits of negative floats sort above all these; only -0.0 needs the second check.
    bits = images.view(_BITS)
    if images.flags.c_contiguous:
        bits = bits.reshape(-1)  # faster to reduce
    if images.size and int(np.maximum.reduce(bits, axis=None)) > ONE:
        low, high = images.min(), images.max()
        if not (low >= 0 and high <= 1):  # also when NaN
            raise InputError(
                f"expected pixels in [0, 1], got {low:.8g} to {high:.8g}; scale them, remove NaN"
            )
