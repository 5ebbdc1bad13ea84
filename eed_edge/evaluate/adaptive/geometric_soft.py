"""Torch twin of the gate rule ``geometric``."""

from collections.abc import Mapping

import torch
from torch import Tensor

from eed_edge.evaluate.adaptive.soft_rule import Sharpness, SoftRule, log_means
from eed_edge.evaluate.adaptive.stop_rule import StopRule
from eed_edge.runtime.gates.gate_rule import MIN_PROB
from eed_edge.runtime.gates.geometric_rule import NEVER_STOP_EXPONENT


class SoftGeometric(SoftRule):
    """Answer with the prefix of the highest exit value; the soft stop is ``q_t``."""

    def soft_stop(
        self, means: Tensor, probs: Tensor, parameters: Mapping[str, float], sharpness: Sharpness
    ) -> Tensor:
        if parameters["g"] >= NEVER_STOP_EXPONENT:
            return torch.zeros_like(means[..., 0])
        logs = means.clamp_min(MIN_PROB).log()
        divergence = (means[1:] * (logs[1:] - logs[:-1])).sum(2)
        divergence = torch.cat([torch.zeros_like(logs[:1, :, 0]), divergence])
        return torch.exp(parameters["g"] * logs.amax(2) - parameters["k"] * divergence).clamp(0, 1)

    def shares(self, shares: Tensor, sharpness: Sharpness) -> Tensor:
        """Concentrate on the largest share: the rule takes that prefix, not a mixture."""
        return (sharpness.probability * shares).softmax(0)

    def slowdown_loss(self, log_probs: Tensor, gate: StopRule) -> Tensor:
        """Sum ``-log prod_t (1 - q_t)``: the share that remains for later sub-models."""
        means = log_means(log_probs, gate)
        exponent = gate.parameters["g"] * means.amax(2)
        divergence = (means[1:].exp() * (means[1:] - means[:-1])).sum(2)
        exponent = torch.cat([exponent[:1], exponent[1:] - gate.parameters["k"] * divergence])
        return -torch.log1p(-exponent.exp().clamp(max=1 - 1e-6)).sum()
