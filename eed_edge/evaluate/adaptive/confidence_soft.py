"""Torch twin of the gate rule ``confidence``."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from eed_edge.evaluate.adaptive.soft_rule import LogSoftStop, Sharpness, SoftRule, log_means
from eed_edge.evaluate.adaptive.stop_rule import StopRule
from eed_edge.gate_rules.gate_rule import MIN_PROB, Parameters


class SoftConfidence(SoftRule):
    """Stop where ``max(m_t)`` reaches the threshold of this stop."""

    def log_soft_stop(
        self, log_means: Tensor, log_probs: Tensor, parameters: Parameters, sharpness: Sharpness
    ) -> LogSoftStop:
        above = sharpness.probability * (log_means.amax(2).exp() - _thresholds(parameters, log_means))
        return logsigmoid(above), logsigmoid(-above)

    def stop_margins(
        self, log_means: Tensor, log_probs: Tensor, answers: Tensor, parameters: Parameters
    ) -> Tensor:
        """Return ``log m_t[answer] - log threshold``."""
        confidence = log_means.gather(2, answers[:, :, None])[:, :, 0]
        return confidence - _thresholds(parameters, log_means).clamp(min=MIN_PROB).log()

    def slowdown_loss(self, log_probs: Tensor, gate: StopRule) -> Tensor:
        """Sum the softplus of how far ``max(m_t)`` is above the threshold, both as log-odds."""
        means = log_means(log_probs, gate)
        tops = means.amax(2).clamp(max=-1e-6)
        odds = tops - torch.log(-torch.expm1(tops))
        thresholds = _thresholds(gate.parameters, means).clamp(1e-6, 1 - 1e-6)
        return torch.nn.functional.softplus(odds - torch.logit(thresholds)).sum()


def _thresholds(parameters: Parameters, log_means: Tensor) -> Tensor:
    """Return the threshold at each prefix, ``(prefixes, 1)``; the last one always stops and has any."""
    common = parameters["threshold"]
    thresholds = [*(parameters.get("thresholds") or ()), *[common] * len(log_means)][: len(log_means)]
    return torch.tensor(thresholds, dtype=log_means.dtype, device=log_means.device)[:, None]
