"""Torch twin of the gate rule ``agreement``."""

from collections.abc import Mapping

import torch
from torch import Tensor

from eed_edge.attacks.gradients import margin
from eed_edge.evaluate.adaptive.soft_rule import Sharpness, SoftRule
from eed_edge.evaluate.adaptive.stop_rule import StopRule


class SoftAgreement(SoftRule):
    """Stop from the second member on where enough members vote for the class that the mean prefers."""

    def soft_stop(
        self, means: Tensor, probs: Tensor, parameters: Mapping[str, float], sharpness: Sharpness
    ) -> Tensor:
        stops = [torch.zeros_like(means[0, :, 0])]
        for t in range(1, len(means)):
            favourite = means[t].argmax(1)
            labels = favourite.expand(t + 1, -1).flatten()
            lead = -margin(probs[: t + 1].flatten(0, 1), labels).view(t + 1, -1)
            votes = torch.sigmoid(sharpness.probability * lead).sum(0)
            stops.append(torch.sigmoid(sharpness.votes * (votes - parameters["votes"] + 0.5)))
        return torch.stack(stops)

    def slowdown_loss(self, log_probs: Tensor, gate: StopRule) -> Tensor:
        """Sum the inner products of every two members' probabilities: how alike they answer."""
        probs = log_probs.exp()[: min(gate.max_submodels, len(log_probs)) - 1]
        total = probs.sum(0)
        return ((total * total).sum(1) - (probs * probs).sum((0, 2))).sum()
