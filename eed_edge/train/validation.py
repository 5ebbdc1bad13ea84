"""What an epoch is worth: accuracy on tune, which epoch is best, when training has gone wrong or is over."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from eed_edge.attacks.base import Threat, frozen
from eed_edge.attacks.pgd import PGD
from eed_edge.recipe import Training
from eed_edge.train.data import batches
from eed_edge.train.data.batches import Images
from eed_edge.train.system.distributed import SINGLE_PROCESS, Processes

VALIDATION_BATCH = 500
CLEAN_WEIGHT = 0.25


class ValidationResult(NamedTuple):
    """Accuracies on tune, as fractions."""

    clean: float
    attacked: float


def validate(
    net: nn.Module, tune: Images, *, cfg: Training, seed: int, processes: Processes = SINGLE_PROCESS
) -> ValidationResult:
    """Clean and PGD accuracy of ``net`` on the first ``judge_images`` of tune, in evaluation mode."""
    tune = tune[slice(0, cfg.judge_images)]
    own = tune[processes.shard]
    generator = torch.Generator(tune.images.device).manual_seed(seed)
    right = torch.zeros(2, device=tune.images.device)
    threat, attack = Threat(cfg.eps_255 / 255, generator=generator), PGD(steps=cfg.judge_steps)
    with frozen(net):
        for images, labels in batches.in_order(own, VALIDATION_BATCH):
            attacked = attack(net, images, labels, threat)
            with torch.no_grad():
                right += torch.stack([(net(x).argmax(1) == labels).sum() for x in (images, attacked)])
    clean, robust = (processes.all_reduce_sum(right) / len(tune)).tolist()
    return ValidationResult(round(clean, 6), round(robust, 6))


def selection_score(row: dict[str, Any]) -> float:
    """Attacked accuracy and a quarter of clean accuracy; the first of equals wins.

    On some hundred images two epochs differ under attack by chance alone; attacked accuracy by
    itself then takes an early epoch and gives away clean accuracy that late ones have.
    """
    worth: float = row["attacked"] + CLEAN_WEIGHT * row["clean"]
    return round(worth, 9)


def has_collapsed(
    row: dict[str, Any], history: Sequence[dict[str, Any]], cfg: Training, *, chance: float
) -> bool:
    """Catastrophic overfitting: attacked accuracy falls, after it was there, and clean accuracy does not.

    Args:
        chance: accuracy of a guess.
    """
    best = max(history, key=selection_score)
    fallen: bool = row["attacked"] < cfg.guard * best["attacked"] and row["clean"] > 0.9 * best["clean"]
    learned: bool = best["attacked"] > 1.5 * chance
    return row["attack"] != "pgd" and learned and fallen


def out_of_patience(history: Sequence[dict[str, Any]], cfg: Training) -> bool:
    """Whether the best epoch is too long ago."""
    if not cfg.patience or not history:
        return False
    best = max(range(len(history)), key=lambda i: (selection_score(history[i]), -i))
    return len(history) - 1 - best >= cfg.patience
