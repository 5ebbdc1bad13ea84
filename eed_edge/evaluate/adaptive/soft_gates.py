"""A differentiable version of the deployed gate, so that gradient attacks can optimise through its stop."""

import torch
from torch import Tensor, nn

from eed_edge.evaluate.adaptive.agreement_soft import SoftAgreement
from eed_edge.evaluate.adaptive.confidence_soft import SoftConfidence
from eed_edge.evaluate.adaptive.geometric_soft import SoftGeometric
from eed_edge.evaluate.adaptive.soft_rule import Sharpness, SoftRule, log_prefix_means
from eed_edge.evaluate.adaptive.stop_rule import StopRule
from eed_edge.train.networks.ensemble import Ensemble

DEFAULT_SHARPNESS = Sharpness()


SOFT_RULES: dict[str, SoftRule] = {
    "confidence": SoftConfidence(),
    "agreement": SoftAgreement(),
    "geometric": SoftGeometric(),
}


class SmoothGate(nn.Module):
    """A differentiable surrogate of the deployed rule: images to log-probabilities ``(n, k)``.

    The output is the mean of each prefix weighted by the soft share that stops there, in log space
    throughout. It is only the target of an attack: success is measured on the rule itself.

    Args:
        gate: the rule; of the ensemble, the members that its cap allows are used.

    Source:
        Athalye et al., "Obfuscated Gradients Give a False Sense of Security", ICML 2018, for the idea.
    """

    def __init__(
        self, ensemble: Ensemble, gate: StopRule, *, sharpness: Sharpness = DEFAULT_SHARPNESS
    ) -> None:
        super().__init__()
        self.ensemble = ensemble.prefix(min(gate.max_submodels, len(ensemble.members)))
        self.gate = gate
        self.rule = SOFT_RULES[gate.rule]
        self.sharpness = sharpness

    def forward(self, images: Tensor) -> Tensor:
        log_probs = self.ensemble.member_logits(images).float().log_softmax(2)  # (members, n, k)
        log_means = log_prefix_means(log_probs)
        stop, go_on = self.rule.log_soft_stop(log_means, log_probs, self.gate.parameters, self.sharpness)
        certain = torch.zeros_like(stop[:1])
        stop = torch.cat([stop[:-1], certain])  # the last one always answers
        undecided = torch.cat([certain, go_on[:-1].cumsum(0)])
        shares = self.rule.log_shares(undecided + stop, self.sharpness)
        return torch.logsumexp(shares.unsqueeze(2) + log_means, 0)
