"""Gate rule ``agreement``: stop when enough sub-models vote for the class that the mean prefers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eed_edge import arguments
from eed_edge.arrays import Doubles
from eed_edge.errors import InputError
from eed_edge.gate_rules.gate_rule import (
    ExitDecision,
    GateRule,
    Memory,
    Parameters,
    RuleParameters,
    SingleAnswer,
    SingleMemory,
    StageOutput,
    Vector,
    lead,
    mean_of,
)
from eed_edge.manifest_bounds import require


@dataclass(frozen=True)
class Agreement(RuleParameters):
    """Stop when ``votes`` sub-models vote for the class that the mean prefers."""

    votes: int

    def __post_init__(self) -> None:
        require(self.votes >= 1, f"votes must be >= 1, got {self.votes}")

    def check_submodels(self, submodels: int) -> None:
        require(
            self.votes <= submodels,
            f"gate.parameters.agreement.votes must be at most {submodels}, got {self.votes}",
        )


class AgreementRule(GateRule):
    """Stop at the first ``t >= 2`` where at least ``votes`` sub-models vote for the argmax of ``m_t``."""

    parameters_type = Agreement
    graph_operator = "GreaterOrEqual"
    graph_constant_type = int

    def decide(self, stage: StageOutput, memory: Memory, parameters: Parameters) -> ExitDecision:
        vote = stage.probs.argmax(axis=1)
        if stage.failed is not None:
            vote[stage.failed] = -1
        votes = memory["votes"] = np.column_stack((memory["votes"], vote)) if stage.t > 1 else vote[:, None]
        if stage.t == 1:
            return ExitDecision(np.zeros(len(vote), bool), stage.mean, 1)
        supporters = np.count_nonzero(votes == stage.mean.argmax(axis=1)[:, None], axis=1)
        return ExitDecision(supporters >= parameters["votes"], stage.mean, stage.t)

    def decide_single(
        self, t: int, probs: Vector, total: Vector, valid: int, memory: SingleMemory, parameters: Parameters
    ) -> SingleAnswer | None:
        answers = memory.setdefault("answers", [])
        answers.append(probs)  # votes are counted when there are enough: Python is slow after each sub-model
        if t == 1 or len(answers) < parameters["votes"]:
            return None
        label = total.index(max(total))
        supporters = sum(answer.index(max(answer)) == label for answer in answers)
        return (mean_of(total, valid), t) if supporters >= parameters["votes"] else None

    def margin(self, stage: StageOutput, memory: Memory, parameters: Parameters) -> Doubles:
        """Return the smaller lead: a vote could flip, or the class that the mean prefers."""
        return np.minimum(lead(stage.probs), lead(stage.mean))

    def calibration_grid(self, members: int) -> list[dict[str, float]]:
        return [{"votes": votes} for votes in range(members, 0, -1)]

    def curve_values(self, members: int) -> Sequence[float]:
        return range(1, members + 1)

    def parameters_from_threshold(self, threshold: Any, members: int) -> dict[str, float]:
        value = arguments.to_float(threshold)
        if value not in range(1, members + 1):
            raise InputError(
                f"expected threshold, a whole number of votes from 1 to {members},"
                f" got {arguments.short_repr(threshold)}; pass a number in that range"
            )
        return {"votes": int(value)}

    def graph_constants(self, parameters: Parameters, stops: int) -> Iterable[float]:
        return [float(parameters["votes"])] * (stops - 1)  # nothing stops after the first sub-model
