"""Torch twin of the gate rule ``confidence``."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from eed_edge.evaluate.adaptive.soft_rule import Sharpness, SoftRule, log_means
from eed_edge.evaluate.adaptive.stop_rule import StopRule


class SoftConfidence(SoftRule):
    """Stop where ``max(m_t)`` reaches the threshold."""

    def soft_stop(
        self, means: Tensor, probs: Tensor, parameters: Mapping[str, float], sharpness: Sharpness
    ) -> Tensor:
        return torch.sigmoid(sharpness.probability * (means.amax(2) - parameters["threshold"]))

    def slowdown_loss(self, log_probs: Tensor, gate: StopRule) -> Tensor:
        """Sum the softplus of how far ``max(m_t)`` is above the threshold, both as log-odds."""
        tops = log_means(log_probs, gate).amax(2).clamp(max=-1e-6)
        odds = tops - torch.log(-torch.expm1(tops))
        threshold = min(max(gate.parameters["threshold"], 1e-6), 1 - 1e-6)
        return torch.nn.functional.softplus(odds - math.log(threshold / (1 - threshold))).sum()
