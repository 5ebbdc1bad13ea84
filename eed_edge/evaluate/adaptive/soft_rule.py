"""The interface of a gate rule's torch twin: a differentiable stop for attacks, and a slowdown loss."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from eed_edge.evaluate.adaptive.stop_rule import StopRule


@dataclass(frozen=True)
class Sharpness:
    """Slopes of the soft decisions; the larger, the closer to the hard rule.

    probability: of the soft stop per unit of probability, and of a soft vote per unit of margin.
    votes: of the soft stop per vote.
    """

    probability: float = 20.0
    votes: float = 4.0


class SoftRule(ABC):
    """The torch twin of one gate rule."""

    @abstractmethod
    def soft_stop(
        self, means: Tensor, probs: Tensor, parameters: Mapping[str, float], sharpness: Sharpness
    ) -> Tensor:
        """Return how strongly the rule stops at each prefix, ``(members, n)`` in [0, 1].

        Args:
            means: ``m_t`` at every t, ``(members, n, k)``.
            probs: of every member, ``(members, n, k)``.
        """

    def shares(self, shares: Tensor, sharpness: Sharpness) -> Tensor:
        """Weigh the prefixes' means, given the share ``(members, n)`` that stops at each; default: as is."""
        return shares

    @abstractmethod
    def slowdown_loss(self, log_probs: Tensor, gate: StopRule) -> Tensor:
        """Return a scalar that falls as the rule stops later; ``log_probs`` is ``(members, n, k)``."""


def log_means(log_probs: Tensor, gate: StopRule) -> Tensor:
    """Return ``log m_t`` at every t where the rule decides: ``(t, n, k)``, without the last allowed one."""
    decisions = min(gate.max_submodels, len(log_probs)) - 1
    counts = torch.arange(1, decisions + 1, device=log_probs.device)[:, None, None]
    return torch.logcumsumexp(log_probs[:decisions], 0) - counts.log()
