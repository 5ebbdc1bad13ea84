"""Temperature scaling: calibrate the probabilities of the prefix that answers.

Probabilities are raised to the power ``1 / T`` and divided by their sum: logarithms are divided by ``T``.
Their order stays, and the gate decides before that. Each stop has a temperature of its own.

Source:
    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
"""

from collections.abc import Sequence
from itertools import repeat
from operator import truediv

import numpy as np

from eed_edge.arrays import Bools, Doubles, Floats, Ints
from eed_edge.gate_rules.gate_rule import Vector

LARGEST_EXPONENT = 100.0
"""Up to it the power of the largest of ``MAX_CLASSES`` probabilities is far above the smallest float."""


def with_temperature(means: Doubles, prefix: Ints, temperatures: Sequence[float]) -> Doubles:
    """Return the calibrated probabilities of a batch, ``(n, k)``.

    Args:
        means: ``(n, k)`` probabilities of the answering prefix.
        prefix: ``(n,)`` that prefix, from 1.
        temperatures: one for each sub-model, positive.
    """
    exponents = 1 / np.asarray(temperatures)[prefix - 1]
    largest = np.maximum.reduce(means, axis=1, keepdims=True)  # of k, so at least 1 / k
    powers = (means / largest) ** exponents[:, None]
    powers /= np.add.reduce(powers, axis=1, keepdims=True)
    scaled: Doubles = powers
    return scaled


def with_temperature_row(mean: Vector, temperature: float) -> Vector:
    """Return the calibrated probabilities of one image, ``k``, in plain Python."""
    exponent = 1 / temperature
    if exponent > LARGEST_EXPONENT:
        largest = max(mean)
        mean = [p / largest for p in mean]
    powers = list(map(pow, mean, repeat(exponent)))
    return list(map(truediv, powers, repeat(sum(powers))))


def below(probs: Floats, threshold: float) -> Bools:
    """Mark the answers ``(n, k)`` whose largest probability is below the float32 ``threshold``."""
    marked: Bools = np.maximum.reduce(probs, axis=1, initial=0) < threshold
    return marked
