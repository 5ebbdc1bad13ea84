"""From logits to float32 probabilities, for a batch by numpy and for one image by plain Python.

Both work in float64 and round at the end, so they agree unless a probability lies within 1e-16 of the
middle between two float32 numbers.
"""

import math
from collections.abc import Sequence
from itertools import repeat
from operator import sub, truediv
from struct import Struct

import numpy as np

from eed_edge.runtime.walk import Bools, Floats


def softmax(logits: Floats) -> tuple[Floats, Bools | None]:
    """``(n, k)`` probabilities, and which rows failed: ``(n,)``, None for none.

    A row with a NaN or infinite logit fails and becomes 0.
    """
    failed = None
    exact = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        if not math.isfinite(np.add.reduce(exact, axis=None)):  # one cheap look at all of them
            failed = ~np.logical_and.reduce(np.isfinite(exact), axis=1)
            exact[failed] = 0
    powers = np.exp(exact - np.maximum.reduce(exact, axis=1, keepdims=True))
    powers /= np.add.reduce(powers, axis=1, keepdims=True)
    probs = powers.astype(np.float32)
    if failed is not None:
        probs[failed] = 0
    return probs, failed


def softmax_row(logits: Sequence[float], float32: Struct) -> Sequence[float] | None:
    """The same for one image; None when it fails.

    Args:
        logits: ``k`` numbers.
        float32: ``Struct("kf")``, which rounds.
    """
    if not math.isfinite(sum(logits)):
        return None
    powers = list(map(math.exp, map(sub, logits, repeat(max(logits)))))
    probs = list(map(truediv, powers, repeat(sum(powers))))
    return float32.unpack(float32.pack(*probs))
