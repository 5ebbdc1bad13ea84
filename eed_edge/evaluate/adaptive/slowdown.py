"""The slowdown attack: images within eps that make the gate run as many sub-models as it can.

Projected gradient descent on three losses in turn, each from a random start of its own. After every
step the deployed rule is replayed on what the members say, and of all images seen, the clean one
included, the one that runs the most sub-models is kept.

Source:
    DeepSloth, Hong et al., "A Panda? No, It's a Sloth", ICLR 2021, arXiv 2010.02432: cross-entropy
    between every early answer and the uniform distribution. The two other losses and the choice
    among all steps are this project's.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eed_edge.arrays import Floats
from eed_edge.attacks.base import frozen
from eed_edge.evaluate.adaptive.stop_rule import StopRule, replay_stop_rule
from eed_edge.evaluate.models_compared import ModelsCompared, Watch
from eed_edge.report import wilson_interval
from eed_edge.runtime.engine.cascade import Cascade, Prediction
from eed_edge.runtime.measure.timing import Times, interleaved, summary
from eed_edge.train.data.batches import Images, as_float, in_order
from eed_edge.train.networks.ensemble import Ensemble

BATCH = 250
STEPS = 20
TIMED_IMAGES = 1000
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
    """Images on which ``gate`` runs at least as many members as on the clean ones, mostly more.

    Args:
        images: ``(n, c, h, w)`` in [0, 1].
        gate: the deployed rule; its cap holds here, too.
        eps: radius of the l_inf ball in units of the [0, 1] range.
        steps: gradient steps for each of the losses; images that already run everything are left alone.

    Returns:
        Images in [0, 1] within ``eps`` of the clean ones; where nothing runs more, the clean one.
    """
    last = min(gate.max_submodels, len(ensemble.members))
    found = images.clone()
    with frozen(ensemble):
        with torch.no_grad():
            used = _used(ensemble.member_logits(images), gate)
        for loss in (_uniform, _disagreement, _SURENESS[gate.rule]):
            rows = torch.nonzero(used < last)[:, 0]
            if not len(rows):
                break
            better, more = _descend(
                ensemble, images[rows], loss, gate=gate, eps=eps, steps=steps, generator=generator
            )
            gained = more > used[rows]
            found[rows[gained]], used[rows[gained]] = better[gained], more[gained]
    return found


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
    """Of all steps of one descent, the image that ran the most members, and how many."""
    last = min(gate.max_submodels, len(ensemble.members))
    low, high = (images - eps).clamp_(min=0), (images + eps).clamp_(max=1)
    noise = torch.empty_like(images).uniform_(-eps, eps, generator=generator)
    attacked = torch.minimum(torch.maximum(images + noise, low), high)
    best = images.clone()
    most = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    rows = torch.arange(len(images), device=images.device)
    for step in range(steps + 1):  # rows: the images that do not run everything yet
        attacked.requires_grad_(True)
        logits = ensemble.member_logits(attacked).float()
        used = _used(logits.detach(), gate)
        better = used > most[rows]
        best[rows[better]], most[rows[better]] = attacked.detach()[better], used[better]
        left = used < last
        if step == steps or not left.any():
            break
        (gradient,) = torch.autograd.grad(loss(logits.log_softmax(2), gate), attacked)
        rows = rows[left]
        size = eps * (0.25 if step < steps / 2 else 0.05)  # far at first, then fine
        attacked = attacked.detach()[left] - size * gradient[left].sign()
        attacked = torch.minimum(torch.maximum(attacked, low[rows]), high[rows])
    return best, most


def _used(logits: Tensor, gate: StopRule) -> Tensor:
    """Members that run for each image, ``(n,)``, given the logits of all, ``(members, n, k)``."""
    used = replay_stop_rule(logits.float().softmax(2).cpu().numpy(), gate).submodels_used
    return torch.from_numpy(used).to(logits.device)


def _log_means(log_probs: Tensor, gate: StopRule) -> Tensor:
    """``log m_t`` at every t where the rule is asked: ``(t, n, k)``, without the last allowed one."""
    asked = min(gate.max_submodels, len(log_probs)) - 1
    counts = torch.arange(1, asked + 1, device=log_probs.device)[:, None, None]
    return torch.logcumsumexp(log_probs[:asked], 0) - counts.log()


def _uniform(log_probs: Tensor, gate: StopRule) -> Tensor:
    """Cross-entropy between the uniform distribution and every ``m_t``."""
    return -_log_means(log_probs, gate).mean(2).sum()


def _disagreement(log_probs: Tensor, gate: StopRule) -> Tensor:
    """Minus the entropy of every ``m_t``, and minus how far its members differ (Jensen-Shannon)."""
    means = _log_means(log_probs, gate)
    of_means = -(means.exp() * means).sum(2)  # (t, n)
    each = -(log_probs.exp() * log_probs).sum(2)[: len(means)]
    counts = torch.arange(1, len(means) + 1, device=each.device)[:, None]
    return -(2 * of_means - each.cumsum(0) / counts).sum()


def _sure_by_confidence(log_probs: Tensor, gate: StopRule) -> Tensor:
    """How far each ``max(m_t)`` is above the threshold, both as log-odds, bent to 0 below it."""
    tops = _log_means(log_probs, gate).amax(2).clamp(max=-1e-6)
    odds = tops - torch.log(-torch.expm1(tops))
    threshold = min(max(gate.parameters["threshold"], 1e-6), 1 - 1e-6)
    return torch.nn.functional.softplus(odds - math.log(threshold / (1 - threshold))).sum()


def _sure_by_agreement(log_probs: Tensor, gate: StopRule) -> Tensor:
    """How alike every two members answer: the inner products of their probabilities."""
    probs = log_probs.exp()[: min(gate.max_submodels, len(log_probs)) - 1]
    total = probs.sum(0)
    return ((total * total).sum(1) - (probs * probs).sum((0, 2))).sum()


def _sure_by_geometry(log_probs: Tensor, gate: StopRule) -> Tensor:
    """``-log prod_t (1 - q_t)``: what is left for later sub-models, as ``gating.geometric`` counts it."""
    means = _log_means(log_probs, gate)
    exponent = gate.parameters["g"] * means.amax(2)
    divergence = (means[1:].exp() * (means[1:] - means[:-1])).sum(2)
    exponent = torch.cat([exponent[:1], exponent[1:] - gate.parameters["k"] * divergence])
    return -torch.log1p(-exponent.exp().clamp(max=1 - 1e-6)).sum()


_SURENESS: dict[str, Loss] = {
    "confidence": _sure_by_confidence,
    "agreement": _sure_by_agreement,
    "geometric": _sure_by_geometry,
}


def slowdown_images(
    defences: ModelsCompared, images: Images, *, eps: float, seed: int, watch: Watch
) -> Tensor:
    """``attack`` on a whole set, batch by batch: float ``(n, c, h, w)`` in [0, 1]."""
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
    watch: Watch,
    slowed: Tensor | None = None,
) -> dict[str, Any]:
    """The report's part ``slowdown``: work, time and accuracy of the deployed rule.

    Args:
        attacked_pgd: the same images made by PGD against the static mean, ``(n, c, h, w)`` in [0, 1].
        eps: radius in units of the [0, 1] range.
        slowed: what ``craft`` made of the images; None: made here.

    Returns:
        The part; times are of single images, all sets and both caps taking turns, the first
        ``TIMED_IMAGES`` once each, and the cap is half of the members, rounded up.
    """
    if slowed is None:
        slowed = slowdown_images(defences, images, eps=eps, seed=seed, watch=watch)
    whole = defences.deployed
    capped = _capped(whole, (len(whole.submodels) + 1) // 2)
    tensors = {"clean": as_float(images.images), "pgd20": attacked_pgd, "slowdown": slowed}
    sets = {name: tensor.cpu().contiguous().numpy() for name, tensor in tensors.items()}
    labels, timed = images.labels.cpu().numpy(), min(len(images), TIMED_IMAGES)

    def one(net: Cascade, given: Floats, i: int) -> None:
        net(given[i : i + 1])

    calls = {
        (cap, name): partial(one, net, given)
        for cap, net in (("uncapped", whole), ("capped", capped))
        for name, given in sets.items()
    }
    times = interleaved({" ".join(key): call for key, call in calls.items()}, items=timed, repeats=1)

    def figures(cap: str, net: Cascade) -> dict[str, dict[str, Any]]:
        return {
            name: _figures(net(given), labels) | _times(times[f"{cap} {name}"])
            for name, given in sets.items()
        }

    return {
        "images": len(images),
        "settings": settings(eps) | {"timed_images": timed},
        "uncapped": figures("uncapped", whole),
        "capped": {"max_submodels": capped.max_submodels, **figures("capped", capped)},
    }


def _capped(deployed: Cascade, cap: int) -> Cascade:
    """The same rule over the same sessions with at most ``cap`` sub-models."""
    return Cascade(
        deployed.manifest,
        deployed.submodels,
        rule=deployed.rule,
        parameters=deployed.parameters,
        max_submodels=min(cap, deployed.max_submodels),
    )


def _figures(answer: Prediction, labels: NDArray[np.int64]) -> dict[str, Any]:
    right = answer.labels == labels
    return {
        "mean": float(answer.submodels_used.mean()),
        "max": int(answer.submodels_used.max()),
        "accuracy": float(right.mean()),
        "interval": wilson_interval(right),
    }


def _times(times: Times) -> dict[str, float]:
    taken = summary(times)
    return {name: taken[name] for name in ("mean_ms", "p99_ms")}


def settings(eps: float) -> dict[str, Any]:
    """What the attack was told, for the report."""
    losses = ["uniform answers", "disagreement", "sureness of the gate"]
    return {"eps_255": round(eps * 255, 6), "steps": STEPS, "losses": losses}
