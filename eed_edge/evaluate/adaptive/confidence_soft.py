"""Torch twin of the gate rule ``confidence``."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from eed_edge.evaluate.adaptive.soft_rule import LogSoftStop, Sharpness, SoftRule, log_means
from eed_edge.evaluate.adaptive.stop_rule import StopRule
from eed_edge.runtime.gates.gate_rule import MIN_PROB


class SoftConfidence(SoftRule):
    """Stop where ``max(m_t)`` reaches the threshold."""

    def log_soft_stop(
        self, log_means: Tensor, log_probs: Tensor, parameters: Mapping[str, float], sharpness: Sharpness
    ) -> LogSoftStop:
        above = sharpness.probability * (log_means.amax(2).exp() - parameters["threshold"])
        return logsigmoid(above), logsigmoid(-above)

    def stop_margins(
        self, log_means: Tensor, log_probs: Tensor, answers: Tensor, parameters: Mapping[str, float]
    ) -> Tensor:
        """Return ``log m_t[answer] - log threshold``."""
        confidence = log_means.gather(2, answers[:, :, None])[:, :, 0]
        return confidence - math.log(max(parameters["threshold"], MIN_PROB))

    def slowdown_loss(self, log_probs: Tensor, gate: StopRule) -> Tensor:
        """Sum the softplus of how far ``max(m_t)`` is above the threshold, both as log-odds."""
        tops = log_means(log_probs, gate).amax(2).clamp(max=-1e-6)
        odds = tops - torch.log(-torch.expm1(tops))
        threshold = min(max(gate.parameters["threshold"], 1e-6), 1 - 1e-6)
        return torch.nn.functional.softplus(odds - math.log(threshold / (1 - threshold))).sum()
