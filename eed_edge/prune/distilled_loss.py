"""Loss of a small network that learns from labels and from the robust base."""

import torch
from torch import Tensor, nn

from eed_edge.recipe import Pool
from eed_edge.train import losses
from eed_edge.train.epoch import TrainingLoss


def distilled_loss(base: nn.Module, cfg: Pool) -> TrainingLoss:
    """Label-smoothed cross-entropy, a share ``cfg.distill`` of it replaced by distillation from ``base``."""

    def loss(network: nn.Module, clean: Tensor, attacked: Tensor, labels: Tensor) -> Tensor:
        logits = network(attacked).float()
        hard = nn.functional.cross_entropy(logits, labels, label_smoothing=cfg.label_smoothing)
        if not cfg.distill:
            return hard
        with torch.no_grad():
            teacher = base(clean)
        return (1 - cfg.distill) * hard + cfg.distill * losses.distillation(logits, teacher.float())

    return loss
