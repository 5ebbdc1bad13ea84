"""The interface of a gate rule's torch twin: its stop in log space for attacks, and a slowdown loss.

Log-probabilities of networks that are sure of themselves differ where their probabilities are all 0 or 1 in
float32, so everything that attacks follow a gradient through is a logarithm.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from eed_edge.evaluate.adaptive.stop_rule import StopRule
from eed_edge.gate_rules.gate_rule import Parameters

LogSoftStop = tuple[Tensor, Tensor]
"""Logarithms of how strongly the rule stops, and goes on, at each prefix: ``(members, n)`` each."""


@dataclass(frozen=True)
class Sharpness:
    """Slopes of the soft decisions; the larger, the closer to the hard rule.

    probability: of the soft stop per unit of probability, and of a soft vote per unit of margin.
    votes: of the soft stop per vote.
    """

    probability: float = 20.0
    votes: float = 4.0


class SoftRule(ABC):
    """The torch twin of one gate rule.

    In every method ``log_means`` is ``log m_t`` at every t and ``log_probs`` is that of every member,
    ``(members, n, k)``.
    """

    @abstractmethod
    def log_soft_stop(
        self, log_means: Tensor, log_probs: Tensor, parameters: Parameters, sharpness: Sharpness
    ) -> LogSoftStop:
        """Return how strongly the rule stops and goes on at each prefix, as two logarithms."""

    def log_shares(self, log_shares: Tensor, sharpness: Sharpness) -> Tensor:
        """Weigh the prefixes' means, given the log share ``(members, n)`` that stops at each."""
        return log_shares

    @abstractmethod
    def stop_margins(
        self, log_means: Tensor, log_probs: Tensor, answers: Tensor, parameters: Parameters
    ) -> Tensor:
        """Return how clearly the rule stops at each prefix, ``(members, n)``, in units of log-probability.

        With ``answers`` the favourites of ``log_means`` it is positive exactly where the rule stops, and with
        other classes it is so where the rule would stop if these were the favourites.

        Args:
            answers: a class for each prefix and image, ``(members, n)``.
        """

    def answer_margins(
        self, log_means: Tensor, log_probs: Tensor, answers: Tensor, parameters: Parameters
    ) -> Tensor:
        """Return how clearly the rule answers with each prefix, ``(members, n)``, as ``stop_margins`` does.

        The default is that of a rule that answers with the prefix where it stops: stop here, and at no
        prefix before. For the last prefix the latter alone counts.
        """
        here = self.stop_margins(log_means, log_probs, answers, parameters)
        before = -self.stop_margins(log_means, log_probs, log_means.argmax(2), parameters)
        always = torch.full_like(here[:1], torch.inf)
        here, before = torch.cat([here[:-1], always]), torch.cat([always, before[:-1]])
        return torch.minimum(here, before.cummin(0).values)

    @abstractmethod
    def slowdown_loss(self, log_probs: Tensor, gate: StopRule) -> Tensor:
        """Return a scalar that falls as the rule stops later; ``log_probs`` is ``(members, n, k)``."""


def log_prefix_means(log_probs: Tensor) -> Tensor:
    """Return ``log m_t`` at every t, ``(members, n, k)``, given all members' log-probabilities."""
    counts = torch.arange(1, len(log_probs) + 1, device=log_probs.device)[:, None, None]
    return torch.logcumsumexp(log_probs, 0) - counts.log()


def log_means(log_probs: Tensor, gate: StopRule) -> Tensor:
    """Return ``log m_t`` at every t where the rule decides: ``(t, n, k)``, without the last allowed one."""
    return log_prefix_means(log_probs[: min(gate.max_submodels, len(log_probs)) - 1])
