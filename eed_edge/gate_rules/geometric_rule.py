"""Gate rule ``geometric``: answer with the prefix of the highest exit value, and stop once it is known."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import mul, truediv
from typing import Any

import numpy as np

from eed_edge.arrays import Doubles
from eed_edge.errors import InputError
from eed_edge.gate_rules.gate_rule import (
    MIN_PROB,
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

NEVER_STOP_EXPONENT = 1e6
"""An exponent ``g`` from which on ``q`` is 0, also where ``max(m_t)`` is exactly 1: every sub-model runs."""


@dataclass(frozen=True)
class Geometric(RuleParameters):
    """``q_t = max(m_t)^g * exp(-k * KL(m_t || m_(t-1)))``; 0 from ``g = 1e6`` on: nothing stops early."""

    g: float
    k: float

    def __post_init__(self) -> None:
        require(self.g >= 0 and self.k >= 0, f"g and k must be >= 0, got {self.g} and {self.k}")


class GeometricRule(GateRule):
    """Answer with the first maximum over t of ``q_t * prod_{i<t} (1 - q_i)``.

    Stop as soon as no later value can exceed the best. No later value exceeds
    ``remaining = prod_{i<=t} (1 - q_i)``, in floating point too: products with numbers in [0, 1] never grow
    by rounding. For the last allowed sub-model ``q`` is 1, so it is the answer of an image that has not
    stopped, where ``best < remaining``.

    Source:
        EED, eq. 20-22; ``q_t = max(m_t)^g * exp(-k * KL(m_t || m_(t-1)))`` is this project's.
    """

    parameters_type = Geometric
    graph_operator = "Mul"

    def decide(self, stage: StageOutput, memory: Memory, parameters: Parameters) -> ExitDecision:
        q = exit_probability(stage, memory, parameters)
        if stage.t == 1:
            best, remaining, prefix, probs = q, 1 - q, np.ones(len(q), np.int64), stage.mean
        else:
            value = q * memory["remaining"]
            better = value > memory["best"]
            best = np.maximum(value, memory["best"])
            remaining = memory["remaining"] * (1 - q)
            prefix = np.where(better, stage.t, memory["prefix"])
            probs = stage.mean if better.all() else np.where(better[:, None], stage.mean, memory["probs"])
        memory.update(best=best, remaining=remaining, prefix=prefix, probs=probs)
        return ExitDecision(best >= remaining, probs, prefix)

    def decide_single(
        self, t: int, probs: Vector, total: Vector, valid: int, memory: SingleMemory, parameters: Parameters
    ) -> SingleAnswer | None:
        mean = mean_of(total, valid)
        clamped = mean if min(mean) > MIN_PROB else [max(p, MIN_PROB) for p in mean]
        exponent = parameters["g"] * math.log(max(clamped))
        previous, best, remaining, answer = memory.get("state", (None, -1.0, 1.0, (mean, t)))
        if previous is not None:
            divergence = sum(map(mul, clamped, map(math.log, map(truediv, clamped, previous))))
            exponent -= parameters["k"] * divergence
        q = math.exp(min(exponent, 0.0)) if parameters["g"] < NEVER_STOP_EXPONENT else 0.0
        if q * remaining > best:
            best, answer = q * remaining, (mean, t)
        remaining *= 1 - q
        memory["state"] = clamped, best, remaining, answer
        return answer if best >= remaining else None

    def margin(self, stage: StageOutput, memory: Memory, parameters: Parameters) -> Doubles:
        """Return the smaller gap: best value to ``remaining``, or this stage's value to the previous best."""
        before = dict(memory)
        self.decide(stage, memory, parameters)
        if parameters["g"] >= NEVER_STOP_EXPONENT:
            return np.ones(len(stage.mean))
        margin: Doubles = np.abs(memory["best"] - memory["remaining"])
        if before:
            value = (
                before["remaining"] - memory["remaining"]
            )  # q_t * remaining, since remaining falls to (1 - q_t) * remaining
            margin = np.minimum(margin, np.abs(value - before["best"]))
        return margin

    def calibration_grid(self, members: int) -> list[dict[str, float]]:
        """Return exponents from never stopping to always stopping, each with three weights ``k``."""
        exponents = [NEVER_STOP_EXPONENT, *np.geomspace(64, 0.05, 40).tolist(), 0.0]
        return [{"g": g, "k": k} for g in exponents for k in (4.0, 1.0, 0.0)]

    def curve_values(self, members: int) -> Sequence[float]:
        return (0.0, *np.geomspace(0.05, 64, 30).tolist(), NEVER_STOP_EXPONENT)

    def parameters_from_threshold(self, threshold: Any, members: int) -> dict[str, float]:
        raise InputError("the rule geometric has no threshold, got one; leave it out or name another rule")

    def graph_constants(self, parameters: Parameters, stops: int) -> Iterable[float]:
        return [parameters["g"]] * stops + [parameters["k"]] * (stops - 1)  # the first has no divergence


def exit_probability(stage: StageOutput, memory: Memory, parameters: Parameters) -> Doubles:
    """Return ``q_t``, ``(r,)`` in [0, 1]; 0 where the sub-model failed or the rule never stops."""
    mean = np.maximum(stage.mean, MIN_PROB)
    logs = np.log(mean)
    exponent = parameters["g"] * np.maximum.reduce(logs, axis=1)
    if stage.t > 1:
        divergence = np.add.reduce(mean * (logs - memory["logs"]), axis=1)
        if stage.valid is not None:
            divergence[stage.valid == 1] = 0  # the first sub-model that did not fail
        exponent -= parameters["k"] * divergence
    memory["logs"] = logs
    q: Doubles = np.exp(np.minimum(exponent, 0.0))
    if parameters["g"] >= NEVER_STOP_EXPONENT:
        q[:] = 0
    elif stage.failed is not None:
        q[stage.failed] = 0
    return q
