"""Attacks that know how the deployed rule works: a smooth gate, and members weighted by how near they are.

Plain gradient attacks see neither the hard stop of the rule nor, through a mean of many sure
members, the one that could be turned. Both attacks here give the optimiser a way around that.
"""

import torch
from torch import Tensor, nn

from eed_edge.attacks import l_inf
from eed_edge.manifest import GateSpec
from eed_edge.runtime.gates.batch_rules import MIN_PROB
from eed_edge.train.networks.ensemble import Ensemble

SHARPNESS = 20.0
"""Slope of the soft stop per unit of probability, and of a soft vote per unit of margin."""
VOTE_SHARPNESS = 4.0
"""Slope of the soft stop per vote."""
WEIGHT_SHARPNESS = 4.0
"""How fast a member's weight falls with its distance from the tie, per unit of log-probability."""


class SmoothGate(nn.Module):
    """A differentiable stand-in for the deployed rule: images to log-probabilities ``(n, k)``.

    The answer is the sum over prefixes of the soft share that stops there times the prefix's mean.
    Only an attack's target: whether an image fools the rule is judged by the rule itself.

    Source:
        Athalye et al., "Obfuscated Gradients Give a False Sense of Security", ICML 2018, for the idea.
    """

    def __init__(self, ensemble: Ensemble, gate: GateSpec) -> None:
        super().__init__()
        allowed = min(gate.max_submodels or len(ensemble.members), len(ensemble.members))
        self.ensemble = ensemble.prefix(allowed)
        self.rule = gate.rule
        self.settings = gate.parameters_of(gate.rule)

    def forward(self, images: Tensor) -> Tensor:
        probs = self.ensemble.member_logits(images).float().softmax(2)  # (members, n, k)
        lengths = torch.arange(1, len(probs) + 1, device=probs.device).view(-1, 1, 1)
        means = probs.cumsum(0) / lengths
        stop = SOFT_STOPS[self.rule](means, probs, self.settings)  # (members, n)
        stop = torch.cat([stop[:-1], torch.ones_like(stop[:1])])  # the last one always answers
        going = torch.cat([torch.ones_like(stop[:1]), (1 - stop[:-1]).cumprod(0)])
        share = going * stop
        if self.rule == "geometric":  # the rule takes the largest of these, not their mixture
            share = (SHARPNESS * share).softmax(0)
        return (share.unsqueeze(2) * means).sum(0).clamp_min(MIN_PROB).log()


def _confidence(means: Tensor, probs: Tensor, parameters: dict[str, float]) -> Tensor:
    return torch.sigmoid(SHARPNESS * (means.amax(2) - parameters["threshold"]))


def _agreement(means: Tensor, probs: Tensor, parameters: dict[str, float]) -> Tensor:
    stops = [torch.zeros_like(means[0, :, 0])]
    for t in range(1, len(means)):
        favourite = means[t].argmax(1)
        labels = favourite.expand(t + 1, -1).flatten()
        lead = -l_inf.margin(probs[: t + 1].flatten(0, 1), labels).view(t + 1, -1)
        votes = torch.sigmoid(SHARPNESS * lead).sum(0)
        stops.append(torch.sigmoid(VOTE_SHARPNESS * (votes - parameters["votes"] + 0.5)))
    return torch.stack(stops)


def _geometric(means: Tensor, probs: Tensor, parameters: dict[str, float]) -> Tensor:
    logs = means.clamp_min(MIN_PROB).log()
    change = (means[1:] * (logs[1:] - logs[:-1])).sum(2)
    change = torch.cat([torch.zeros_like(logs[:1, :, 0]), change])
    return torch.exp(parameters["g"] * logs.amax(2) - parameters["k"] * change).clamp(0, 1)


SOFT_STOPS = {"confidence": _confidence, "agreement": _agreement, "geometric": _geometric}


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
