"""A smooth stand-in for the deployed rule, so that gradient attacks can optimise through its stop."""

import torch
from torch import Tensor, nn

from eed_edge.attacks.gradients import margin
from eed_edge.manifest import GateSpec
from eed_edge.runtime.gates.batch_rules import MIN_PROB
from eed_edge.train.networks.ensemble import Ensemble

SHARPNESS = 20.0
"""Slope of the soft stop per unit of probability, and of a soft vote per unit of margin."""
VOTE_SHARPNESS = 4.0
"""Slope of the soft stop per vote."""


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
        lead = -margin(probs[: t + 1].flatten(0, 1), labels).view(t + 1, -1)
        votes = torch.sigmoid(SHARPNESS * lead).sum(0)
        stops.append(torch.sigmoid(VOTE_SHARPNESS * (votes - parameters["votes"] + 0.5)))
    return torch.stack(stops)


def _geometric(means: Tensor, probs: Tensor, parameters: dict[str, float]) -> Tensor:
    logs = means.clamp_min(MIN_PROB).log()
    change = (means[1:] * (logs[1:] - logs[:-1])).sum(2)
    change = torch.cat([torch.zeros_like(logs[:1, :, 0]), change])
    return torch.exp(parameters["g"] * logs.amax(2) - parameters["k"] * change).clamp(0, 1)


SOFT_STOPS = {"confidence": _confidence, "agreement": _agreement, "geometric": _geometric}
