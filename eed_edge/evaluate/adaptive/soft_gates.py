"""Attacks that know how the deployed rule works: a smooth gate, and members weighted by how near they are.

Plain gradient attacks see neither the hard stop of the rule nor, through a mean of many sure
members, the one that could be turned. Both attacks here give the optimiser a way around that.
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
"""How fast a member's weight falls with its distance from the tie, per unit of log-probability."""


SOFT_RULES: dict[str, SoftRule] = {
    "confidence": SoftConfidence(),
    "agreement": SoftAgreement(),
    "geometric": SoftGeometric(),
}


class SmoothGate(nn.Module):
    """A differentiable stand-in for the deployed rule: images to log-probabilities ``(n, k)``.

    The answer is the sum over prefixes of the soft share that stops there times the prefix's mean.
    Only an attack's target: whether an image fools the rule is judged by the rule itself.

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
    """Attack the members with weights: those nearest to a change of mind count most (after MORA).

    A mean of softmax outputs lets members that are far beyond the tie, right or wrong, drown the
    gradient of the others. Here each member's margin is raised with a weight that falls with its
    distance from the tie. The step falls from 2·eps to 0.

    Args:
        images: ``(n, c, h, w)`` in [0, 1].
        eps: radius of the l_inf ball in units of the [0, 1] range.

    Returns:
        Per image the attacked version on which the mean of all members does worst.

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
                margins = torch.stack([l_inf.margin(each, labels) for each in log_probs])  # (members, n)
                weights = (-WEIGHT_SHARPNESS * margins.detach().abs()).softmax(0)
                gradient = torch.autograd.grad((weights * margins).sum(), attacked)[0]
            attacked = attacked.detach()
            with torch.no_grad():
                now = l_inf.margin(log_probs.detach().logsumexp(0), labels)
            better = now > best_margin
            best[better], best_margin[better] = attacked[better], now[better]
            step = 2 * eps * (1 - i / steps)
            attacked = torch.minimum(torch.maximum(attacked + step * gradient.sign(), low), high)
    return best
