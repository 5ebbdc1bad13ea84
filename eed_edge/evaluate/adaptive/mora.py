"""PGD on an ensemble's members, weighted by how near each is to the decision boundary (after MORA)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eed_edge.attacks.gradients import margin
from eed_edge.attacks.interface import Attack, Threat
from eed_edge.train.networks.ensemble import Ensemble

WEIGHT_SHARPNESS = 4.0
"""How fast a member's weight falls with its distance from the boundary, per unit of log-probability."""


@dataclass(frozen=True)
class Mora(Attack):
    """Maximise the members' margins with weights; members close to the decision boundary count most.

    In a mean of softmax outputs, members far from the boundary on either side drown the gradient of the
    others. Here a member's weight falls with its distance from it. The step falls from 2·eps to 0.
    The result is, per image, the version on which the mean of all members does worst.

    steps: gradient steps.

    Source:
        After Yu, Gao and Xu, "MORA: Improving Ensemble Robustness Evaluation with Model-Reweighing
        Attack", NeurIPS 2022; the weights here are simpler than theirs.
    """

    steps: int = 100

    @property
    def description(self) -> str:
        """One line on the settings."""
        return f"reweighted PGD on the members, {self.steps} steps"

    def run(self, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
        """Attack an ``Ensemble``."""
        if not isinstance(model, Ensemble):
            raise TypeError(f"expected an Ensemble, got {type(model).__name__}; use PGD for one network")
        eps, generator = threat.eps, threat.random(images.device)
        low, high = (images - eps).clamp_(min=0), (images + eps).clamp_(max=1)
        noise = torch.empty_like(images).uniform_(-eps, eps, generator=generator)
        attacked = (images + noise).clamp_(0, 1)
        best, best_margin = images.clone(), torch.full((len(images),), -torch.inf, device=images.device)
        for i in range(self.steps + 1):
            attacked.requires_grad_(True)
            with torch.enable_grad():
                log_probs = model.member_logits(attacked).float().log_softmax(2)
                margins = torch.stack([margin(each, labels) for each in log_probs])  # (members, n)
                weights = (-WEIGHT_SHARPNESS * margins.detach().abs()).softmax(0)
                gradient = torch.autograd.grad((weights * margins).sum(), attacked)[0]
            attacked = attacked.detach()
            with torch.no_grad():
                current = margin(log_probs.detach().logsumexp(0), labels)
            better = current > best_margin
            best[better], best_margin[better] = attacked[better], current[better]
            step = 2 * eps * (1 - i / self.steps)
            attacked = torch.minimum(torch.maximum(attacked + step * gradient.sign(), low), high)
        return best
