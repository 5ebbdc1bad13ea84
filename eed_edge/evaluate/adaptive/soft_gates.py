"""A differentiable version of the deployed gate, so that gradient attacks can optimise through its stop."""

import torch
from torch import Tensor, nn

from eed_edge.evaluate.adaptive.agreement_soft import SoftAgreement
from eed_edge.evaluate.adaptive.confidence_soft import SoftConfidence
from eed_edge.evaluate.adaptive.geometric_soft import SoftGeometric
from eed_edge.evaluate.adaptive.soft_rule import Sharpness, SoftRule
from eed_edge.manifest import GateSpec
from eed_edge.runtime.gates.gate_rule import MIN_PROB
from eed_edge.train.networks.ensemble import Ensemble

DEFAULT_SHARPNESS = Sharpness()


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
