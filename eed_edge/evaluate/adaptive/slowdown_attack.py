"""Slowdown attack: images within eps that make the gate run as many sub-models as possible.

Projected gradient descent on one loss after another, each from new random starts: three that count every
stop, and one for each stop that aims at getting past it. After every step the deployed rule is replayed on
the members' probabilities; of all iterates and the clean image, the one that runs most sub-models is
returned.

Source:
    DeepSloth, Hong et al., "A Panda? No, It's a Sloth", ICLR 2021, arXiv 2010.02432: cross-entropy
    between every early answer and the uniform distribution. The other losses and the choice among all
    steps are this project's.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from eed_edge.attacks.interface import frozen
from eed_edge.evaluate.adaptive.soft_gates import SOFT_RULES
from eed_edge.evaluate.adaptive.soft_rule import log_means
from eed_edge.evaluate.adaptive.stop_rule import StopRule, replay_stop_rule
from eed_edge.evaluate.models_compared import ModelsCompared, ProgressCallback
from eed_edge.train.data.batches import Images, images_at_once, in_order
from eed_edge.train.networks.ensemble import Ensemble

BATCH = 250
STEPS = 20
Loss = Callable[[Tensor, StopRule], Tensor]


def slowdown_attack(
    ensemble: Ensemble,
    images: Tensor,
    *,
    gate: StopRule,
    eps: float,
    steps: int,
    restarts: int,
    generator: torch.Generator,
) -> Tensor:
    """Return images on which ``gate`` runs more members than on the clean ones, never fewer.

    Args:
        images: ``(n, c, h, w)`` in [0, 1].
        gate: the deployed rule; its cap applies.
        eps: radius of the l_inf ball in units of the [0, 1] range.
        steps: gradient steps for each loss and start; images that run all members already stay unchanged.
        restarts: random starts of each loss.

    Returns:
        Images in [0, 1] within ``eps`` of the clean ones; the clean one where none runs more.
    """
    last = min(gate.max_submodels, len(ensemble.members))
    attacked = images.clone()
    with frozen(ensemble):
        with torch.no_grad():
            used = _used(ensemble.member_logits(images), gate)
        for reach, loss in _losses(gate, last) * restarts:
            rows = torch.nonzero(used <= reach)[:, 0]
            if not len(rows):
                continue
            better, more = _descend(
                ensemble, images[rows], loss, gate=gate, eps=eps, steps=steps, generator=generator
            )
            gained = more > used[rows]
            attacked[rows[gained]], used[rows[gained]] = better[gained], more[gained]
    return attacked


def _losses(gate: StopRule, last: int) -> list[tuple[int, Loss]]:
    """Return the losses, each with the latest stop of the images that it is used on."""
    everywhere: list[Loss] = [_uniform, _disagreement, SOFT_RULES[gate.rule].slowdown_loss]
    aimed: list[tuple[int, Loss]] = [(stop, partial(_largest_stop_margin, stop)) for stop in range(1, last)]
    return [(last - 1, loss) for loss in everywhere] + aimed


def _descend(
    ensemble: Ensemble,
    images: Tensor,
    loss: Loss,
    *,
    gate: StopRule,
    eps: float,
    steps: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Descend on one loss; return for each image the iterate that ran the most members, and how many."""
    last = min(gate.max_submodels, len(ensemble.members))
    low, high = (images - eps).clamp_(min=0), (images + eps).clamp_(max=1)
    noise = torch.empty_like(images).uniform_(-eps, eps, generator=generator)
    attacked = torch.minimum(torch.maximum(images + noise, low), high)
    best = images.clone()
    most = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    rows = torch.arange(len(images), device=images.device)
    for step in range(steps + 1):  # rows: the images that do not run all members yet
        attacked.requires_grad_(True)
        logits = ensemble.member_logits(attacked).float()
        used = _used(logits.detach(), gate)
        better = used > most[rows]
        best[rows[better]], most[rows[better]] = attacked.detach()[better], used[better]
        undecided = used < last
        if step == steps or not undecided.any():
            break
        value = loss(logits.log_softmax(2), gate)
        if not value.isfinite():  # a stop that the rule never makes
            break
        (gradient,) = torch.autograd.grad(value, attacked)
        rows = rows[undecided]
        size = eps * (0.25 if step < steps / 2 else 0.05)  # large steps first, then small ones
        attacked = attacked.detach()[undecided] - size * gradient[undecided].sign()
        attacked = torch.minimum(torch.maximum(attacked, low[rows]), high[rows])
    return best, most


def _used(logits: Tensor, gate: StopRule) -> Tensor:
    """Return how many members run for each image, ``(n,)``, given all logits, ``(members, n, k)``."""
    used = replay_stop_rule(logits.float().softmax(2).cpu().numpy(), gate).submodels_used
    return torch.from_numpy(used).to(logits.device)


def _uniform(log_probs: Tensor, gate: StopRule) -> Tensor:
    """Return the cross-entropy between the uniform distribution and every ``m_t``."""
    return -log_means(log_probs, gate).mean(2).sum()


def _disagreement(log_probs: Tensor, gate: StopRule) -> Tensor:
    """Return minus the entropy of every ``m_t``, minus the Jensen-Shannon divergence of its members."""
    means = log_means(log_probs, gate)
    mean_entropy = -(means.exp() * means).sum(2)  # (t, n)
    entropies = -(log_probs.exp() * log_probs).sum(2)[: len(means)]
    counts = torch.arange(1, len(means) + 1, device=entropies.device)[:, None]
    return -(2 * mean_entropy - entropies.cumsum(0) / counts).sum()


def _largest_stop_margin(stop: int, log_probs: Tensor, gate: StopRule) -> Tensor:
    """Return the largest stop margin among the first ``stop`` prefixes, summed over images."""
    means = log_means(log_probs, gate)
    margins = SOFT_RULES[gate.rule].stop_margins(
        means, log_probs[: len(means)], means.argmax(2), gate.parameters
    )
    return margins[:stop].amax(0).sum()


def slowdown_images(
    models: ModelsCompared,
    images: Images,
    *,
    eps: float,
    restarts: int,
    seed: int,
    on_progress: ProgressCallback,
) -> Tensor:
    """Attack a set of images batch by batch; return float ``(n, c, h, w)`` in [0, 1]."""
    generator = torch.Generator(images.images.device).manual_seed(seed)
    parts, done = [], 0
    for batch, labels in in_order(images, images_at_once(images.images, BATCH)):
        parts.append(
            slowdown_attack(
                models.ensemble,
                batch,
                gate=models.deployed,
                eps=eps,
                steps=STEPS,
                restarts=restarts,
                generator=generator,
            )
        )
        done += len(labels)
        on_progress("slowdown", done, len(images))
    return torch.cat(parts)


def attack_settings(eps: float, restarts: int) -> dict[str, Any]:
    """Return the attack's settings for the report."""
    losses = ["uniform answers", "disagreement", "sureness of the gate", "sureness of each stop"]
    return {"eps_255": round(eps * 255, 6), "steps": STEPS, "restarts": restarts, "losses": losses}
