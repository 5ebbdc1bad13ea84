"""Gate rule ``confidence``: stop when the largest mean probability reaches the threshold of this stop."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eed_edge import arguments
from eed_edge.arrays import Doubles, Floats
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
    mean_of,
)
from eed_edge.manifest_bounds import require

NEVER_STOP = 2.0
"""A threshold that no probability reaches: every sub-model runs."""


@dataclass(frozen=True)
class Confidence(RuleParameters):
    """Stop when the largest mean probability reaches a threshold; above 1 it never stops early.

    threshold: one for all stops.
    thresholds: one for each sub-model but the last; used instead where there are any.
    """

    threshold: float
    thresholds: tuple[float, ...] | None = field(default=None, metadata={"optional": True})

    def __post_init__(self) -> None:
        for threshold in (self.threshold, *(self.thresholds or ())):
            require(0 <= threshold <= 2, f"threshold must be in [0, 2], got {threshold}")

    def check_submodels(self, submodels: int) -> None:
        stops = submodels - 1
        require(
            self.thresholds is None or len(self.thresholds) == stops,
            f"gate.parameters.confidence.thresholds must be null or {stops}, one for each sub-model but"
            f" the last, got {len(self.thresholds or ())}",
        )


class ConfidenceRule(GateRule):
    """Stop at the first t with ``max(m_t) >= thresholds[t - 1]``, or ``threshold`` where there are none."""

    parameters_type = Confidence
    graph_operator = "GreaterOrEqual"

    def decide(self, stage: StageOutput, memory: Memory, parameters: Parameters) -> ExitDecision:
        stop = np.maximum.reduce(stage.mean, axis=1) >= threshold_at(parameters, stage.t)
        return ExitDecision(stop, stage.mean, stage.t)

    def decide_single(
        self, t: int, probs: Vector, total: Vector, valid: int, memory: SingleMemory, parameters: Parameters
    ) -> SingleAnswer | None:
        thresholds = parameters.get("thresholds")
        threshold = thresholds[t - 1] if thresholds else parameters["threshold"]
        return (mean_of(total, valid), t) if max(total) / valid >= threshold else None

    def margin(self, stage: StageOutput, memory: Memory, parameters: Parameters) -> Doubles:
        margin: Doubles = np.abs(stage.mean.max(axis=1) - threshold_at(parameters, stage.t))
        return margin

    def calibration_grid(self, members: int) -> list[dict[str, float]]:
        return [{"threshold": float(t)} for t in (NEVER_STOP, *np.linspace(1, 0, 201))]

    def curve_values(self, members: int) -> Sequence[float]:
        return (*np.linspace(0, 1, 41).tolist(), NEVER_STOP)

    def parameters_from_threshold(self, threshold: Any, members: int) -> dict[str, float]:
        value = arguments.to_float(threshold)
        if not 0 <= value <= NEVER_STOP:
            raise InputError(
                f"expected threshold, a number in [0, 2], got {arguments.short_repr(threshold)};"
                " above 1 nothing stops early"
            )
        return {"threshold": value}

    def graph_constants(self, parameters: Parameters, stops: int) -> Iterable[float]:
        return [threshold_at(parameters, t) for t in range(1, stops + 1)]

    def refine(self, parameters: Parameters, probs: Sequence[Floats]) -> Parameters:
        """Move thresholds midway between the two neighbouring confidences, away from every image."""
        steps = np.arange(1, len(probs[0]) + 1, dtype=np.float32)[:, None, None]
        confidences = np.concatenate(
            [(np.cumsum(p, 0) / steps).max(2) for p in probs], axis=1
        )  # (members, …)
        refined = {**parameters, "threshold": _midway(parameters["threshold"], confidences)}
        if thresholds := parameters.get("thresholds"):
            refined["thresholds"] = tuple(map(_midway, thresholds, confidences))
        return refined


def threshold_at(parameters: Parameters, t: int) -> float:
    """Return the threshold after sub-model ``t``, from 1."""
    thresholds: Sequence[float] | None = parameters.get("thresholds")
    threshold: float = thresholds[t - 1] if thresholds else parameters["threshold"]
    return threshold


def _midway(threshold: float, confidences: Floats) -> float:
    """Return the middle of the two confidences around ``threshold``; one above 1 stays."""
    if threshold > 1:
        return threshold
    values = np.unique(confidences)
    place = int(np.searchsorted(values, threshold))
    below = values[place - 1] if place else 0.0
    above = values[place] if place < len(values) else 1.0
    return float((np.float64(below) + np.float64(above)) / 2)
