"""Validation after each epoch: accuracy, best epoch, collapse detection, early stopping."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eed_edge.attacks.interface import Threat, frozen
from eed_edge.recipe import Training
from eed_edge.train.attacked_accuracy import correct_clean, correct_under_attack
from eed_edge.train.data import batches
from eed_edge.train.data.batches import Images
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.system.distributed import SINGLE_PROCESS, Processes

VALIDATION_BATCH = 500
CLEAN_WEIGHT = 0.25
CLEAN_TOLERANCE = 0.01
"""Epochs without attacks whose accuracies differ by less than this count as equal: the last one is kept."""


class ValidationResult(NamedTuple):
    """Accuracies on tune, as fractions.

    attacked: under PGD; of an ensemble, under the worse of two PGD attacks on its mean; None in a training
        without attacks.
    attacked_first: of an ensemble's first member alone, likewise; None for one network.
    clean_first: clean accuracy of an ensemble's first member, in a training without attacks.
    """

    clean: float
    attacked: float | None = None
    attacked_first: float | None = None
    clean_first: float | None = None

    def as_row(self) -> dict[str, float]:
        """The accuracies that exist, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def validate(
    net: nn.Module, tune: Images, *, cfg: Training, seed: int, processes: Processes = SINGLE_PROCESS
) -> ValidationResult:
    """Clean and attacked accuracy of ``net`` on the first ``cfg.judge_images`` of tune, in evaluation mode.

    An ensemble stops early once it is deployed, so its first member is judged beside its mean. In a training
    without attacks both are judged on clean images alone.
    """
    tune = tune[slice(0, cfg.judge_images)]
    shard = tune[processes.shard]
    generator = torch.Generator(tune.images.device).manual_seed(seed)
    threat = Threat(cfg.eps_255 / 255, generator=generator)
    team = isinstance(net, Ensemble)
    targets = [net, net.prefix(1)] if isinstance(net, Ensemble) and len(net.members) > 1 else [net]
    names = ["clean", *(["attacked", "attacked_first"] if cfg.attacked else ["clean_first"])]
    correct: Tensor | float = 0.0
    with frozen(net):
        for images, labels in batches.in_order(shard, batches.images_at_once(shard.images, VALIDATION_BATCH)):
            clean = targets[:1] if cfg.attacked else targets
            counts = [correct_clean(target, images, labels).sum() for target in clean]
            counts += [
                correct_under_attack(target, images, labels, threat, steps=cfg.judge_steps, margin=team).sum()
                for target in (targets if cfg.attacked else [])
            ]
            correct = correct + torch.stack(counts)
    correct = torch.as_tensor(correct, dtype=torch.float32, device=tune.images.device)
    shares = (processes.all_reduce_sum(correct) / len(tune)).tolist()
    return ValidationResult(**{name: round(share, 6) for name, share in zip(names, shares, strict=False)})


def selection_score(row: dict[str, Any]) -> float:
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


def best_epoch(history: Sequence[dict[str, Any]]) -> int:
    """Place of the epoch whose weights are kept: the first of the highest score.

    In a training without attacks, the last one within ``CLEAN_TOLERANCE`` of the highest: some epoch in the
    middle is the best on a few hundred images by chance, and nothing overfits to an attack there.
    """
    scores = [selection_score(row) for row in history]
    if "attacked" in history[0]:
        return scores.index(max(scores))
    return max(place for place, score in enumerate(scores) if score >= max(scores) - CLEAN_TOLERANCE)


def has_collapsed(
    row: dict[str, Any], history: Sequence[dict[str, Any]], cfg: Training, *, chance: float
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


def out_of_patience(history: Sequence[dict[str, Any]], cfg: Training) -> bool:
    """Whether the best epoch is ``cfg.patience`` or more epochs ago."""
    if not cfg.patience or not history:
        return False
    best = max(range(len(history)), key=lambda i: (selection_score(history[i]), -i))
    return len(history) - 1 - best >= cfg.patience
