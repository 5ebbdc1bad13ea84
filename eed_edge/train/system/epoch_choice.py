"""What the records of the epochs decide: the best epoch, collapse, early stopping; needs no torch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from eed_edge.recipe import Training

CLEAN_WEIGHT = 0.25
CLEAN_TOLERANCE = 0.01
"""Epochs without attacks whose accuracies differ by less than this count as equal: the last one is kept."""


def selection_score(row: Mapping[str, Any]) -> float:
    """Score by which the best epoch is chosen: attacked accuracy plus a quarter of clean accuracy.

    An epoch whose weights the guard threw away has the lowest. Accuracy of an ensemble is half its first
    member's and half its mean's. Without attacks it is the clean one alone.

    On a few hundred images, two epochs differ under attack by chance; attacked accuracy alone
    would then choose an early epoch and lose the clean accuracy of later ones.
    """
    if "guard" in row:
        return -math.inf
    if "attacked" not in row:
        clean: float = (row["clean"] + row.get("clean_first", row["clean"])) / 2
        return round(clean, 9)
    attacked = (row["attacked"] + row.get("attacked_first", row["attacked"])) / 2
    score: float = attacked + CLEAN_WEIGHT * row["clean"]
    return round(score, 9)


def best_epoch(history: Sequence[Mapping[str, Any]]) -> int:
    """Place of the epoch whose weights are kept: the first of the highest score.

    In a training without attacks, the last one within ``CLEAN_TOLERANCE`` of the highest: some epoch in the
    middle is the best on a few hundred images by chance, and nothing overfits to an attack there.
    """
    scores = [selection_score(row) for row in history]
    if "attacked" in history[0]:
        return scores.index(max(scores))
    return max(place for place, score in enumerate(scores) if score >= max(scores) - CLEAN_TOLERANCE)


def has_collapsed(
    row: Mapping[str, Any], history: Sequence[Mapping[str, Any]], cfg: Training, *, chance: float
) -> bool:
    """Detect catastrophic overfitting: attacked accuracy collapses while clean accuracy stays.

    Args:
        chance: accuracy of a random guess.
    """
    if row["attack"] in ("pgd", "none"):
        return False
    best = max(history, key=selection_score)
    fallen: bool = row["attacked"] < cfg.guard * best["attacked"] and row["clean"] > 0.9 * best["clean"]
    learned: bool = best["attacked"] > 1.5 * chance
    return learned and fallen


def out_of_patience(history: Sequence[Mapping[str, Any]], cfg: Training) -> bool:
    """Whether the best epoch is ``cfg.patience`` or more epochs ago."""
    if not cfg.patience or not history:
        return False
    best = max(range(len(history)), key=lambda i: (selection_score(history[i]), -i))
    return len(history) - 1 - best >= cfg.patience
