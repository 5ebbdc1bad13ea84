"""Base training: one network trained under attack (EED, sec. 3.1; Madry et al., or N-FGSM)."""

import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eed_edge.recipe import Base
from eed_edge.train import loop
from eed_edge.train.context import TrainingContext
from eed_edge.train.data import batches
from eed_edge.train.data.batches import Images
from eed_edge.train.loop import TrainingResult
from eed_edge.train.networks.build import Classifier
from eed_edge.train.state import copy_weights
from eed_edge.train.system.distributed import SINGLE_PROCESS, Processes
from eed_edge.train.validation import VALIDATION_BATCH, validate


def train_base(
    net: nn.Module, train: Images, tune: Images, *, cfg: Base, context: TrainingContext
) -> TrainingResult:
    """Adversarial training of ``net`` in place with label-smoothed cross-entropy; see ``loop.fit``."""

    def loss(
        network: nn.Module, clean: Tensor, attacked: Tensor, labels: Tensor, soft: Tensor | None
    ) -> Tensor:
        return F.cross_entropy(network(attacked).float(), labels, label_smoothing=cfg.label_smoothing)

    return loop.fit(net, train, tune, cfg=cfg, loss=loss, context=context)


def validate_untrained(
    net: nn.Module, tune: Images, *, cfg: Base, context: TrainingContext
) -> TrainingResult:
    """Validate pretrained weights as they are; the record counts as epoch 0 of 0."""
    started = time.monotonic()
    row = {"epoch": -1, "epochs": 0, "attack": "none", "images": 0}
    row |= validate(net, tune, cfg=cfg, seed=context.seed, processes=context.processes).as_row()
    context.record({**row, "seconds": round(time.monotonic() - started, 3)})
    weights = copy_weights(net.state_dict())
    return TrainingResult(best=weights, last=weights, history=[row])


def clean_accuracy(net: nn.Module, tune: Images, *, processes: Processes = SINGLE_PROCESS) -> float:
    """Accuracy of ``net`` on the clean tune images, in evaluation mode."""
    net.eval()
    correct = torch.zeros((), device=tune.images.device)
    size = batches.images_at_once(tune.images, VALIDATION_BATCH)
    with torch.no_grad():
        for images, labels in batches.in_order(tune[processes.shard], size):
            correct += (net(images).argmax(1) == labels).sum()
    return float(processes.all_reduce_sum(correct).item() / len(tune))


def set_normalisation(net: Classifier, train: Images) -> None:
    """Set the first layer of ``net`` to the training images' mean and standard deviation per channel."""
    channels, size = train.images.shape[1], batches.images_at_once(train.images, 4096)
    sums = torch.zeros(2, channels, dtype=torch.float64)
    for start in range(0, len(train), size):
        values = train.images[start : start + size].double().div(255)
        sums += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))]).cpu()
    mean, square = sums / (train.images.numel() / channels)
    std = (square - mean.square()).clamp_min(1e-4).sqrt()
    net.normalise.mean.copy_(mean.view(1, -1, 1, 1))
    net.normalise.std.copy_(std.view(1, -1, 1, 1))
