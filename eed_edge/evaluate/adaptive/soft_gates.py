"""Adaptive attacks on the deployed rule: a differentiable gate, and a margin-weighted ensemble attack.

The hard stop of the rule has no gradient, and in a mean of confident members the gradient of a member near
its decision boundary vanishes. The smooth gate solves the first problem, ``mora_attack`` the second.
"""

import torch
from torch import Tensor, nn

from eed_edge.attacks import l_inf
from eed_edge.evaluate.adaptive.agreement_soft import SoftAgreement
from eed_edge.evaluate.adaptive.confidence_soft import SoftConfidence
from eed_edge.evaluate.adaptive.geometric_soft import SoftGeometric
from eed_edge.evaluate.adaptive.soft_rule import Sharpness, SoftRule
from eed_edge.manifest import GateSpec
from eed_edge.runtime.gates.gate_rule import MIN_PROB
from eed_edge.train.networks.ensemble import Ensemble

DEFAULT_SHARPNESS = Sharpness()
WEIGHT_SHARPNESS = 4.0
"""Decay of a member's weight with its absolute margin, per unit of log-probability."""


SOFT_RULES: dict[str, SoftRule] = {
    "confidence": SoftConfidence(),
    "agreement": SoftAgreement(),
    "geometric": SoftGeometric(),
}


class SmoothGate(nn.Module):
    """A differentiable surrogate of the deployed rule: images to log-probabilities ``(n, k)``.

    The output is the mean of each prefix weighted by the soft share that stops there. It is only the target
    of an attack: success is measured on the rule itself.

    Source:
        Athalye et al., "Obfuscated Gradients Give a False Sense of Security", ICML 2018, for the idea.
    """

    def __init__(
        self, ensemble: Ensemble, gate: GateSpec, *, sharpness: Sharpness = DEFAULT_SHARPNESS
    ) -> None:
        super().__init__()
        allowed = min(gate.max_submodels or len(ensemble.members), len(ensemble.members))
        self.ensemble = ensemble.prefix(allowed)
        self.rule = SOFT_RULES[gate.rule]
        self.gate_parameters = gate.parameters_of(gate.rule)
        self.sharpness = sharpness

    def forward(self, images: Tensor) -> Tensor:
        probs = self.ensemble.member_logits(images).float().softmax(2)  # (members, n, k)
        lengths = torch.arange(1, len(probs) + 1, device=probs.device).view(-1, 1, 1)
        means = probs.cumsum(0) / lengths
        stop = self.rule.soft_stop(means, probs, self.gate_parameters, self.sharpness)  # (members, n)
        stop = torch.cat([stop[:-1], torch.ones_like(stop[:1])])  # the last one always answers
        undecided = torch.cat([torch.ones_like(stop[:1]), (1 - stop[:-1]).cumprod(0)])
        shares = self.rule.shares(undecided * stop, self.sharpness)
        return (shares.unsqueeze(2) * means).sum(0).clamp_min(MIN_PROB).log()


def mora_attack(
    ensemble: Ensemble,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """Attack the ensemble with weighted members: the smaller a margin, the larger the weight (after MORA).

    In a mean of softmax outputs, members with large margins, right or wrong, dominate the gradient. Here the
    objective is the weighted sum of the members' margins. The step size falls from 2·eps to 0.

    Args:
        images: ``(n, c, h, w)`` in [0, 1].
        eps: radius of the l_inf ball in units of the [0, 1] range.

    Returns:
        For each image, the iterate with the largest margin of the ensemble's mean towards a wrong class.

    Source:
        After Yu, Gao and Xu, "MORA: Improving Ensemble Robustness Evaluation with Model-Reweighing
        Attack", NeurIPS 2022; the weights here are simpler than theirs.
    """
    low, high = (images - eps).clamp_(min=0), (images + eps).clamp_(max=1)
    noise = torch.empty_like(images).uniform_(-eps, eps, generator=generator)
    attacked = (images + noise).clamp_(0, 1)
    best, best_margin = images.clone(), torch.full((len(images),), -torch.inf, device=images.device)
    with l_inf.frozen(ensemble):
        for i in range(steps + 1):
            attacked.requires_grad_(True)
            with torch.enable_grad():
                log_probs = ensemble.member_logits(attacked).float().log_softmax(2)
                margins = torch.stack([l_inf.margin(member, labels) for member in log_probs])  # (members, n)
                weights = (-WEIGHT_SHARPNESS * margins.detach().abs()).softmax(0)
                gradient = torch.autograd.grad((weights * margins).sum(), attacked)[0]
            attacked = attacked.detach()
            with torch.no_grad():
                margin = l_inf.margin(log_probs.detach().logsumexp(0), labels)
            better = margin > best_margin
            best[better], best_margin[better] = attacked[better], margin[better]
            step = 2 * eps * (1 - i / steps)
            attacked = torch.minimum(torch.maximum(attacked + step * gradient.sign(), low), high)
    return best
