"""Loss of a small network that learns from labels and from the robust base."""

import torch
from torch import Tensor, nn

from eed_edge.recipe import Distilled
from eed_edge.train import losses
from eed_edge.train.epoch import TrainingLoss


def distilled_loss(base: nn.Module, cfg: Distilled) -> TrainingLoss:
    """Label-smoothed cross-entropy, a share ``cfg.distill`` of it replaced by distillation from ``base``.

    Its answers come with the images if they are stored there; else it answers each batch.
    """

    def loss(
        network: nn.Module, clean: Tensor, attacked: Tensor, labels: Tensor, soft: Tensor | None
    ) -> Tensor:
        logits = network(attacked).float()
        hard = nn.functional.cross_entropy(logits, labels, label_smoothing=cfg.label_smoothing)
        if not cfg.distill:
            return hard
        with torch.no_grad():
            teacher = base(clean) if soft is None else soft
        return (1 - cfg.distill) * hard + cfg.distill * losses.distillation(logits, teacher.float())

    return loss
