"""The deployed rule by its three settings, for those who replay it instead of running it."""

from collections.abc import Mapping
from typing import Protocol

from eed_edge.arrays import Floats
from eed_edge.runtime.gates import batch_rules
from eed_edge.runtime.gates.early_exit import EarlyExitResult


class StopRule(Protocol):
    """What decides when to stop; a ``Cascade`` is one."""

    @property
    def rule(self) -> str:
        """A key of ``gating.RULES``."""

    @property
    def parameters(self) -> Mapping[str, float]:
        """The rule's parameters by name."""

    @property
    def max_submodels(self) -> int:
        """At most this many run for an image."""


def replay_stop_rule(probs: Floats, gate: StopRule) -> EarlyExitResult:
    """What the runtime would answer; arguments and errors as in ``gating.replay``."""
    return batch_rules.replay_rule(probs, gate.rule, gate.parameters, max_submodels=gate.max_submodels)
