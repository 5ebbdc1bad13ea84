"""Rule-aware attack: images on which the deployed rule stops at a prefix whose answer is wrong."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from eed_edge.attacks.gradients import uniform_noise
from eed_edge.attacks.interface import Attack, Threat
from eed_edge.evaluate.adaptive.soft_gates import SmoothGate
from eed_edge.evaluate.adaptive.soft_rule import log_prefix_means
from eed_edge.evaluate.adaptive.stop_rule import replayed_labels

MOMENTUM = 0.75
FIRST_STEP = 1.0
"""In units of eps; the step falls to 0."""


@dataclass(frozen=True)
class RuleAware(Attack):
    """For one stop after another, maximise the smaller of the two margins that make the rule fail there.

    For stop t these are, in log-probability, the margin of a wrong class over the true one in ``m_t``, and
    that of the rule's answering with prefix t if that class is its favourite. Both are positive only where
    the rule answers wrongly. The first start follows the likeliest wrong class, each further one the next
    likely one of the clean image. Sign steps with momentum start anywhere in the ball. The rule itself judges
    every iterate; the first one that fools it is the result, else the clean image.

    steps: gradient steps for each stop and start.
    restarts: random starts for each stop.
    """

    per_image: ClassVar[bool] = False
    steps: int = 100
    restarts: int = 5

    @property
    def description(self) -> str:
        """One line on the settings."""
        return f"rule-aware attack, {self.restarts} x {self.steps} steps for each stop"

    def run(self, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
        """Attack a ``SmoothGate``: its members and its rule."""
        if not isinstance(model, SmoothGate):
            raise TypeError(f"expected a SmoothGate, got {type(model).__name__}; use PGD for one network")
        generator = threat.random(images.device)
        attacked, rows = images.clone(), torch.arange(len(images), device=images.device)
        with torch.no_grad():
            log_means = log_prefix_means(model.ensemble.member_logits(images).float().log_softmax(2))
        true = labels.expand(len(log_means), -1)[:, :, None]
        ranked = log_means.scatter(2, true, -torch.inf).argsort(2, descending=True)[:, :, :-1]
        for restart in range(self.restarts):
            for stop, classes in enumerate(ranked):
                target = classes[rows, restart % classes.shape[1]] if restart else None
                start = images[rows] + uniform_noise(images[rows], threat.eps, generator)
                aim = _Aim(stop, labels[rows], target)
                iterates, fooled = self._ascend(model, images[rows], start, aim, threat.eps)
                attacked[rows[fooled]] = iterates[fooled]
                rows = rows[~fooled]
                if not len(rows):
                    return attacked
        return attacked

    def _ascend(
        self, model: SmoothGate, images: Tensor, start: Tensor, aim: "_Aim", eps: float
    ) -> tuple[Tensor, Tensor]:
        """Return the first iterates that fool the rule, and for which images there is one, ``(n,)``."""
        low, high = (images - eps).clamp_(min=0), (images + eps).clamp_(max=1)
        iterates, fooled = images.clone(), torch.zeros_like(aim.labels, dtype=torch.bool)
        rows = torch.arange(len(images), device=images.device)  # those that have not fooled the rule yet
        attacked = torch.minimum(torch.maximum(start, low), high)
        velocity = torch.zeros_like(attacked)
        for step in range(self.steps + 1):
            attacked.requires_grad_(True)
            with torch.enable_grad():
                log_probs = model.ensemble.member_logits(attacked).float().log_softmax(2)
                objective = _objective(model, log_probs, aim.of(rows))
            wrong = replayed_labels(log_probs, model.gate) != aim.labels[rows]
            iterates[rows[wrong]], fooled[rows[wrong]] = attacked.detach()[wrong], True
            if step == self.steps or wrong.all() or not objective.isfinite().any():
                break
            gradient = torch.autograd.grad(objective.sum(), attacked)[0][~wrong]
            rows, attacked = rows[~wrong], attacked.detach()[~wrong]
            scale = gradient.abs().flatten(1).mean(1).clamp_min(torch.finfo(gradient.dtype).tiny)
            velocity = MOMENTUM * velocity[~wrong] + gradient / scale.view(-1, 1, 1, 1)
            size = FIRST_STEP * eps * (1 - step / self.steps)
            attacked = attacked + size * velocity.sign()
            attacked = torch.minimum(torch.maximum(attacked, low[rows]), high[rows])
        return iterates, fooled


@dataclass(frozen=True)
class _Aim:
    """Target of one ascent: the stop (from 0), the labels ``(n,)`` and a wrong class for each image.

    target: None: the likeliest wrong class in every iterate.
    """

    stop: int
    labels: Tensor
    target: Tensor | None

    def of(self, rows: Tensor) -> "_Aim":
        return _Aim(self.stop, self.labels[rows], None if self.target is None else self.target[rows])


def _objective(model: SmoothGate, log_probs: Tensor, aim: _Aim) -> Tensor:
    """Return how clearly the rule answers wrongly with the prefix aimed at, ``(n,)``.

    Args:
        log_probs: of every member, ``(members, n, k)``.
    """
    log_means = log_prefix_means(log_probs)
    true = aim.labels.expand(len(log_means), -1)[:, :, None]
    if aim.target is None:
        wrong = log_means.detach().scatter(2, true, -torch.inf).argmax(2)
    else:
        wrong = aim.target.expand(len(log_means), -1)
    answers = model.rule.answer_margins(log_means, log_probs, wrong, model.gate.parameters)
    ahead = log_means.gather(2, wrong[:, :, None]) - log_means.gather(2, true)
    return torch.minimum(ahead[aim.stop, :, 0], answers[aim.stop])
