"""The deployed rule as name, parameters and cap, to replay it without running the sub-models."""

from typing import Protocol

import torch
from torch import Tensor

from eed_edge.arrays import Floats
from eed_edge.gate_rules.gate_rule import Parameters
from eed_edge.runtime.gates.early_exit import EarlyExitResult
from eed_edge.runtime.gates.replay import replay_rule


class StopRule(Protocol):
    """Name, parameters and cap of a gate rule; a ``Cascade`` has them."""

    @property
    def rule(self) -> str:
        """A key of ``GATE_RULES``."""

    @property
    def parameters(self) -> Parameters:
        """The rule's parameters by name."""

    @property
    def max_submodels(self) -> int:
        """At most this many run for an image."""


def replay_stop_rule(probs: Floats, gate: StopRule) -> EarlyExitResult:
    """Return the answers that the runtime gives; arguments and errors as in ``replay_rule``."""
    return replay_rule(probs, gate.rule, gate.parameters, max_submodels=gate.max_submodels)


def replayed_labels(log_probs: Tensor, gate: StopRule) -> Tensor:
    """Return the class that the runtime answers with, ``(n,)``, given ``(members, n, k)`` in torch."""
    labels = replay_stop_rule(log_probs.detach().float().exp().cpu().numpy(), gate).labels
    return torch.from_numpy(labels).to(log_probs.device)
