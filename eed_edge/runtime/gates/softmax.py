"""Softmax from logits to float32 probabilities: numpy for a batch, plain Python for one image.

Both work in float64 and round at the end, so they agree unless a probability lies within 1e-16 of the
middle between two float32 numbers.
"""

from collections.abc import Sequence
from itertools import repeat
from math import exp, inf, isfinite
from operator import truediv
from struct import Struct

import numpy as np

from eed_edge.arrays import Bools, Floats

SMALL = 1e-30  # powers that add up to less have lost digits


def softmax(logits: Floats) -> tuple[Floats, Bools | None]:
    """Return ``(n, k)`` probabilities and the ``(n,)`` mask of failed rows, None if no row failed.

    A row with a NaN or infinite logit fails and becomes 0.
    """
    failed = None
    exact = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        if not isfinite(np.add.reduce(exact, axis=None)):  # one cheap check of all rows
            failed = ~np.logical_and.reduce(np.isfinite(exact), axis=1)
            exact[failed] = 0
    powers = np.exp(exact - np.maximum.reduce(exact, axis=1, keepdims=True))
    powers /= np.add.reduce(powers, axis=1, keepdims=True)
    probs = powers.astype(np.float32)
    if failed is not None:
        probs[failed] = 0
    return probs, failed


def softmax_row(logits: Sequence[float], float32: Struct) -> Sequence[float] | None:
    """Return the ``k`` probabilities of one image, or None if a logit is NaN or infinite.

    Args:
        logits: ``k`` numbers.
        float32: ``Struct("kf")``, for rounding.
    """
    try:
        powers = list(map(exp, logits))
    except OverflowError:
        powers = []
    total = sum(powers)
    if not SMALL < total < inf or 0.0 in powers:  # out of range, or not a number
        if not isfinite(sum(logits)):
            return None
        largest = max(logits)
        powers = [exp(logit - largest) for logit in logits]
        total = sum(powers)
    return float32.unpack(float32.pack(*map(truediv, powers, repeat(total))))
