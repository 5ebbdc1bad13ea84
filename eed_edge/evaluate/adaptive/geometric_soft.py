"""Torch twin of the gate rule ``geometric``."""

import math

import torch
from torch import Tensor

from eed_edge.evaluate.adaptive.soft_rule import LogSoftStop, Sharpness, SoftRule, log_means
from eed_edge.evaluate.adaptive.stop_rule import StopRule
from eed_edge.gate_rules.gate_rule import MIN_PROB, Parameters
from eed_edge.gate_rules.geometric_rule import NEVER_STOP_EXPONENT

NEVER = -1e4
"""Logarithm of a probability that is 0."""


class SoftGeometric(SoftRule):
    """Answer with the prefix of the highest exit value; the soft stop is ``q_t``."""

    def log_soft_stop(
        self, log_means: Tensor, log_probs: Tensor, parameters: Parameters, sharpness: Sharpness
    ) -> LogSoftStop:
        log_q = _log_exit_probabilities(log_means, log_means.argmax(2), parameters)
        return log_q, _log_of_rest(log_q)

    def log_shares(self, log_shares: Tensor, sharpness: Sharpness) -> Tensor:
        """Concentrate on the largest share: the rule takes that prefix, not a mixture."""
        return (sharpness.probability * log_shares.exp()).log_softmax(0)

    def stop_margins(
        self, log_means: Tensor, log_probs: Tensor, answers: Tensor, parameters: Parameters
    ) -> Tensor:
        """Return ``log best_t - log remaining_t``: no later value can exceed the best so far."""
        log_q = _log_exit_probabilities(log_means, answers, parameters)
        remaining = _log_of_rest(log_q).cumsum(0)
        values = log_q + torch.cat([torch.zeros_like(remaining[:1]), remaining[:-1]])
        return values.cummax(0).values - remaining

    def answer_margins(
        self, log_means: Tensor, log_probs: Tensor, answers: Tensor, parameters: Parameters
    ) -> Tensor:
        """Return the lead of each prefix's log exit value over that of all others; the last ``q`` is 1."""
        log_q = _log_exit_probabilities(log_means, log_means.argmax(2), parameters)
        answer_values = _log_exit_probabilities(log_means, answers, parameters)
        ahead = torch.cat([torch.zeros_like(log_q[:1]), _log_of_rest(log_q[:-1]).cumsum(0)])
        certain = torch.zeros_like(log_q[:1])
        values, answer_values = (torch.cat([each[:-1], certain]) + ahead for each in (log_q, answer_values))
        itself = torch.eye(len(values), dtype=torch.bool, device=values.device)[:, :, None]
        others = values.expand(len(values), -1, -1).masked_fill(itself, -torch.inf).amax(1)
        return answer_values - others

    def slowdown_loss(self, log_probs: Tensor, gate: StopRule) -> Tensor:
        """Sum ``-log prod_t (1 - q_t)``: the share that remains for later sub-models."""
        means = log_means(log_probs, gate)
        return -_log_of_rest(_log_exit_probabilities(means, means.argmax(2), gate.parameters)).sum()


def _log_exit_probabilities(log_means: Tensor, answers: Tensor, parameters: Parameters) -> Tensor:
    """Return ``log q_t`` at every t, ``(members, n)``; the rule's own clamp and limit of ``g`` apply."""
    logs = log_means.clamp_min(math.log(MIN_PROB))
    exponent = parameters["g"] * logs.gather(2, answers[:, :, None])[:, :, 0]
    divergence = (logs[1:].exp() * (logs[1:] - logs[:-1])).sum(2)
    exponent = torch.cat([exponent[:1], exponent[1:] - parameters["k"] * divergence])
    if parameters["g"] >= NEVER_STOP_EXPONENT:
        return exponent * 0 + NEVER
    return exponent.clamp(max=0)


def _log_of_rest(log_q: Tensor) -> Tensor:
    """Return ``log(1 - q)``, where q is at most ``1 - 1e-6``."""
    return torch.log(-torch.expm1(log_q.clamp(max=-1e-6)))
