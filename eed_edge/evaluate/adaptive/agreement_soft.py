"""Torch twin of the gate rule ``agreement``."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from eed_edge.attacks.gradients import margin
from eed_edge.evaluate.adaptive.soft_rule import LogSoftStop, Sharpness, SoftRule
from eed_edge.evaluate.adaptive.stop_rule import StopRule
from eed_edge.gate_rules.gate_rule import Parameters


class SoftAgreement(SoftRule):
    """Stop from the second member on where enough members vote for the class that the mean prefers."""

    def log_soft_stop(
        self, log_means: Tensor, log_probs: Tensor, parameters: Parameters, sharpness: Sharpness
    ) -> LogSoftStop:
        never = torch.full_like(log_means[0, :, 0], -torch.inf)
        stop, go_on = [never], [torch.zeros_like(never)]
        for t in range(1, len(log_means)):
            leads = _leads(log_probs[: t + 1].exp(), log_means[t].argmax(1))
            votes = torch.sigmoid(sharpness.probability * leads).sum(0)
            enough = sharpness.votes * (votes - parameters["votes"] + 0.5)
            stop.append(logsigmoid(enough))
            go_on.append(logsigmoid(-enough))
        return torch.stack(stop), torch.stack(go_on)

    def stop_margins(
        self, log_means: Tensor, log_probs: Tensor, answers: Tensor, parameters: Parameters
    ) -> Tensor:
        """Return the lead of the answer in the last vote needed, the members being sorted by that lead."""
        needed = math.ceil(parameters["votes"])
        never = torch.full_like(log_means[0, :, 0], -torch.inf)
        return torch.stack(
            [
                _leads(log_probs[: t + 1], answers[t]).topk(needed, 0).values[-1]
                if t >= max(1, needed - 1)
                else never
                for t in range(len(log_means))
            ]
        )

    def slowdown_loss(self, log_probs: Tensor, gate: StopRule) -> Tensor:
        """Sum the inner products of every two members' probabilities: how alike they answer."""
        probs = log_probs.exp()[: min(gate.max_submodels, len(log_probs)) - 1]
        total = probs.sum(0)
        return ((total * total).sum(1) - (probs * probs).sum((0, 2))).sum()


def _leads(scores: Tensor, answers: Tensor) -> Tensor:
    """Return how far each member ``(t, n, k)`` puts one answer ``(n,)`` ahead of all others, ``(t, n)``."""
    labels = answers.expand(len(scores), -1).flatten()
    return -margin(scores.flatten(0, 1), labels).view(len(scores), -1)
