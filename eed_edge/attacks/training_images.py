"""Adversarial images for one training batch, with the recipe's attack and warm-up of the radius."""

import torch
from torch import Tensor, nn

from eed_edge.attacks.interface import Threat, frozen
from eed_edge.attacks.registry import TRAINING_ATTACKS
from eed_edge.recipe import Training


def make_adversarial(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: str,
    cfg: Training,
    generator: torch.Generator,
    progress: float = 1.0,
) -> Tensor:
    """Attack a training batch; parameters, statistics and modes of ``net`` are kept.

    Args:
        attack: a key of ``TRAINING_ATTACKS``.
        cfg: the stage's section of the recipe.
        progress: completed share of the training; the radius rises linearly during ``cfg.eps_warmup``.
    """
    scale = min(1.0, progress / cfg.eps_warmup) if cfg.eps_warmup else 1.0
    threat = Threat(scale * cfg.eps_255 / 255, generator=generator)
    training_attack = TRAINING_ATTACKS[attack].from_recipe(cfg, scale=scale)
    with frozen(net):  # not checked: reading values would make an accelerator wait at every batch
        return training_attack.run(net, images, labels, threat).detach()
