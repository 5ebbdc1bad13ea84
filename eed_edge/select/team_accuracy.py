"""Accuracy of the mean of many teams at once."""

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Bools, Floats, Ints

CHUNK = 2**23
"""Numbers held at once: 32 MiB of float32."""


def team_accuracies(probs: Floats, labels: Ints, teams: Bools) -> NDArray[np.float64]:
    """Accuracy of the mean of each team.

    Args:
        probs: ``(members, n, k)``.
        labels: ``(n,)``.
        teams: ``(t, members)`` bool.

    Returns:
        ``(t,)``; of equal largest probabilities the first counts as the answer.
    """
    members, n, k = probs.shape
    flat = probs.reshape(members, n * k)
    rows = max(1, CHUNK // (n * k))
    correct = np.empty(len(teams), dtype=np.int64)
    for start in range(0, len(teams), rows):
        total = (
            teams[start : start + rows].astype(np.float32) @ flat
        )  # (rows, n * k), the mean times its size
        answer = total.reshape(-1, n, k).argmax(axis=2)  # (rows, n)
        correct[start : start + rows] = (answer == labels).sum(axis=1)
    return np.asarray(correct / n, dtype=np.float64)
