"""Slowdown attack: images within eps that make the gate run as many sub-models as possible.

Projected gradient descent on three losses, one after another, each from a new random start. After every step
the deployed rule is replayed on the members' probabilities; of all iterates and the clean image, the one that
runs the most sub-models is returned.

Source:
    DeepSloth, Hong et al., "A Panda? No, It's a Sloth", ICLR 2021, arXiv 2010.02432: cross-entropy
    between every early answer and the uniform distribution. The two other losses and the choice
    among all steps are this project's.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eed_edge.arrays import Floats
from eed_edge.attacks.interface import frozen
from eed_edge.evaluate.adaptive.soft_gates import SOFT_RULES
from eed_edge.evaluate.adaptive.soft_rule import log_means
from eed_edge.evaluate.adaptive.stop_rule import StopRule, replay_stop_rule
from eed_edge.evaluate.models_compared import ModelsCompared, ProgressCallback
from eed_edge.report import wilson_interval
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.engine.prediction import Prediction
from eed_edge.runtime.measure.clock import Times, in_blocks, summary
from eed_edge.runtime.measure.conditions import conditions_between, snapshot
from eed_edge.train.data.batches import Images, as_float, in_order
from eed_edge.train.networks.ensemble import Ensemble

BATCH = 250
STEPS = 20
TIMED_IMAGES = 1000
TIMED_ROUNDS = 2
Loss = Callable[[Tensor, StopRule], Tensor]


def slowdown_attack(
    ensemble: Ensemble,
    images: Tensor,
    *,
    gate: StopRule,
    eps: float,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """Return images on which ``gate`` runs more members than on the clean ones, never fewer.

    Args:
        images: ``(n, c, h, w)`` in [0, 1].
        gate: the deployed rule; its cap applies.
        eps: radius of the l_inf ball in units of the [0, 1] range.
        steps: gradient steps for each of the losses; images that run all members already stay unchanged.

    Returns:
        Images in [0, 1] within ``eps`` of the clean ones; the clean one where none runs more.
    """
    last = min(gate.max_submodels, len(ensemble.members))
    attacked = images.clone()
    with frozen(ensemble):
        with torch.no_grad():
            used = _used(ensemble.member_logits(images), gate)
        for loss in (_uniform, _disagreement, SOFT_RULES[gate.rule].slowdown_loss):
            rows = torch.nonzero(used < last)[:, 0]
            if not len(rows):
                break
            better, more = _descend(
                ensemble, images[rows], loss, gate=gate, eps=eps, steps=steps, generator=generator
            )
            gained = more > used[rows]
            attacked[rows[gained]], used[rows[gained]] = better[gained], more[gained]
    return attacked


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
        (gradient,) = torch.autograd.grad(loss(logits.log_softmax(2), gate), attacked)
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


def slowdown_images(
    defences: ModelsCompared, images: Images, *, eps: float, seed: int, watch: ProgressCallback
) -> Tensor:
    """Attack a set of images batch by batch; return float ``(n, c, h, w)`` in [0, 1]."""
    generator = torch.Generator(images.images.device).manual_seed(seed)
    parts, done = [], 0
    for batch, labels in in_order(images, BATCH):
        parts.append(
            slowdown_attack(
                defences.ensemble, batch, gate=defences.deployed, eps=eps, steps=STEPS, generator=generator
            )
        )
        done += len(labels)
        watch("slowdown", done, len(images))
    return torch.cat(parts)


def measure_slowdown(
    defences: ModelsCompared,
    images: Images,
    attacked_pgd: Tensor,
    *,
    eps: float,
    seed: int,
    watch: ProgressCallback,
    slowed: Tensor | None = None,
) -> dict[str, Any]:
    """Measure work, time and accuracy of the deployed rule: the report's part ``slowdown``.

    Args:
        attacked_pgd: the same images attacked by PGD against the static mean, ``(n, c, h, w)`` in [0, 1].
        eps: radius in units of the [0, 1] range.
        slowed: the result of ``slowdown_images``; None: compute it.

    Returns:
        The part. Times are of single images, the first ``TIMED_IMAGES`` in ``TIMED_ROUNDS`` blocks of each
        set and cap; the lower cap is half of the members, rounded up.
    """
    if slowed is None:
        slowed = slowdown_images(defences, images, eps=eps, seed=seed, watch=watch)
    uncapped = defences.deployed
    capped = _capped(uncapped, (len(uncapped.submodels) + 1) // 2)
    tensors = {"clean": as_float(images.images), "pgd20": attacked_pgd, "slowdown": slowed}
    sets = {name: tensor.cpu().contiguous().numpy() for name, tensor in tensors.items()}
    labels, timed = images.labels.cpu().numpy(), min(len(images), TIMED_IMAGES)

    def run_one(net: Cascade, pixels: Floats, i: int) -> None:
        net(pixels[i : i + 1])

    calls = {
        (cap, name): partial(run_one, net, pixels)
        for cap, net in (("uncapped", uncapped), ("capped", capped))
        for name, pixels in sets.items()
    }
    before = snapshot()
    times = in_blocks({" ".join(key): call for key, call in calls.items()}, items=timed, rounds=TIMED_ROUNDS)
    conditions = conditions_between(before, snapshot())

    def figures(cap: str, net: Cascade) -> dict[str, dict[str, Any]]:
        return {
            name: _figures(net(pixels), labels) | _times(times[f"{cap} {name}"])
            for name, pixels in sets.items()
        }

    return {
        "images": len(images),
        "settings": attack_settings(eps) | {"timed_images": timed},
        "conditions": conditions,
        "uncapped": figures("uncapped", uncapped),
        "capped": {"max_submodels": capped.max_submodels, **figures("capped", capped)},
    }


def _capped(deployed: Cascade, cap: int) -> Cascade:
    """Return the same rule over the same sessions with at most ``cap`` sub-models."""
    return Cascade(
        deployed.manifest,
        deployed.submodels,
        rule=deployed.rule,
        parameters=deployed.parameters,
        max_submodels=min(cap, deployed.max_submodels),
    )


def _figures(answer: Prediction, labels: NDArray[np.int64]) -> dict[str, Any]:
    correct = answer.labels == labels
    return {
        "mean": float(answer.submodels_used.mean()),
        "max": int(answer.submodels_used.max()),
        "accuracy": float(correct.mean()),
        "interval": wilson_interval(correct),
    }


def _times(times: Times) -> dict[str, float]:
    percentiles = summary(times)
    return {name: percentiles[name] for name in ("mean_ms", "p99_ms")}


def attack_settings(eps: float) -> dict[str, Any]:
    """Return the attack's settings for the report."""
    losses = ["uniform answers", "disagreement", "sureness of the gate"]
    return {"eps_255": round(eps * 255, 6), "steps": STEPS, "losses": losses}
