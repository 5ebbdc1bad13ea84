"""Training steps: one of each stage on a few images, so that none fails after hours."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eed_edge.attacks import training_images
from eed_edge.prune.channels.masking import masked
from eed_edge.prune.dry_run import DryRun
from eed_edge.recipe import Recipe, Training
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.joint import joint_loss, teacher_logits
from eed_edge.train.networks.build import Classifier
from eed_edge.train.networks.ensemble import Ensemble, recorded_activations
from eed_edge.train.networks.entered_layers import entered_layers
from eed_edge.train.system.devices import mixed_precision


def training_faults(base: Classifier, dry: DryRun, few: Images, recipe: Recipe) -> list[str]:
    """The first stage whose training step fails on ``few`` images, in a line."""
    images, labels = as_float(few.images), few.labels
    masks = {group.root: torch.ones(group.channels, device=images.device) for group in dry.structure.groups}
    for mask in masks.values():
        mask.requires_grad_(True)
    base, team = copy.deepcopy(base), Ensemble([copy.deepcopy(dry.member) for _ in range(2)])
    with torch.random.fork_rng(devices=[]), entered_layers(base) as entered:
        try:
            stage = "base training"
            _step(base, images, labels, recipe.base)
            stage = "the score search"
            with masked(base, dry.structure.groups, masks):
                _step(base, images, labels, recipe.pool)
            stage = "joint training"
            _step(team, images, labels, recipe.joint, base=base, recipe=recipe)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            return [f"{entered.layer}: a step of {stage} fails: {reason:.150}; change this layer's forward"]
    for name, parameter in base.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            return [f"{name}: its gradient is not finite; check divisions, roots and logarithms behind it"]
    return []


def _step(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    cfg: Training,
    *,
    base: nn.Module | None = None,
    recipe: Recipe | None = None,
) -> None:
    """Attack, loss and gradients of one batch, as the stage of ``cfg`` computes them."""
    generator = torch.Generator(images.device).manual_seed(0)
    net.train()
    with mixed_precision(images.device):
        attacked = training_images.make_adversarial(
            net, images, labels, attack=cfg.attack, cfg=cfg, generator=generator
        )
        if isinstance(net, Ensemble) and recipe is not None and base is not None:
            with recorded_activations(net) as activations:
                logits = net.member_logits(attacked).float()
            teacher = teacher_logits(net, base.eval(), images, recipe.joint)
            loss = joint_loss(net, logits, labels, activations, teacher=teacher, cfg=recipe.joint)
        else:
            loss = F.cross_entropy(net(attacked).float(), labels)
    loss.backward()  # type: ignore[no-untyped-call]
