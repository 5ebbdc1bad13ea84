"""Temperatures: a probability of the answering prefix becomes one that says how often such answers are right.

Probabilities are raised to the power ``1 / T`` and divided by their sum: logarithms are divided by ``T``.
Their order stays, and the gate decides before that. Each stop has a temperature of its own.

Source:
    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
"""

from collections.abc import Sequence

import numpy as np

from eed_edge.arrays import Bools, Doubles, Floats, Ints
from eed_edge.runtime.gates.gate_rule import Vector


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
    exponent, largest = 1 / temperature, max(mean)
    powers = [(p / largest) ** exponent for p in mean]
    total = sum(powers)
    return [power / total for power in powers]


def below(probs: Floats, threshold: float | None) -> Bools:
    """Mark the answers ``(n, k)`` whose largest probability is below ``threshold``; None: no one."""
    if threshold is None:
        return np.zeros(len(probs), bool)
    marked: Bools = np.maximum.reduce(probs, axis=1) < np.float32(threshold)
    return marked
