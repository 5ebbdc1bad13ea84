"""Validation after each epoch: accuracy on tune, clean and attacked."""

from typing import NamedTuple

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
