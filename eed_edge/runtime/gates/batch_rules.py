"""When to stop: the three rules, and the replay of a rule over recorded probabilities."""

from collections.abc import Mapping

import numpy as np

from eed_edge.arrays import Bools, Doubles, Floats, Ints
from eed_edge.errors import InputError
from eed_edge.runtime.gates.early_exit import (
    BatchRule,
    EarlyExitResult,
    ExitDecision,
    Memory,
    StageOutput,
    run_early_exit,
)

MIN_PROB = 1e-12  # probabilities are clamped here before a logarithm


def confidence(stage: StageOutput, memory: Memory, parameters: Mapping[str, float]) -> ExitDecision:
    """Stop at the first t with ``max(m_t) >= threshold``."""
    stop = np.maximum.reduce(stage.mean, axis=1) >= parameters["threshold"]
    return ExitDecision(stop, stage.mean, stage.t)


def agreement(stage: StageOutput, memory: Memory, parameters: Mapping[str, float]) -> ExitDecision:
    """Stop at the first ``t >= 2`` where at least ``votes`` sub-models vote for the argmax of ``m_t``."""
    votes = stage.probs.argmax(axis=1)
    if stage.failed is not None:
        votes[stage.failed] = -1
    cast = memory["votes"] = np.column_stack((memory["votes"], votes)) if stage.t > 1 else votes[:, None]
    if stage.t == 1:
        return ExitDecision(np.zeros(len(votes), bool), stage.mean, 1)
    supporters = np.count_nonzero(cast == stage.mean.argmax(axis=1)[:, None], axis=1)
    return ExitDecision(supporters >= parameters["votes"], stage.mean, stage.t)


def geometric(stage: StageOutput, memory: Memory, parameters: Mapping[str, float]) -> ExitDecision:
    """The first maximum of ``q_t * prod_{i<t} (1 - q_i)``, found as soon as nothing later can win.

    No later value exceeds ``left = prod_{i<=t} (1 - q_i)``, as computed too: products with
    numbers in [0, 1] never grow by rounding. The walk answers with the last allowed sub-model without asking:
    its ``q`` is 1, and ``best < left`` for an image that came so far.

    Source:
        EED, eq. 20-22; ``q_t = max(m_t)^g * exp(-k * KL(m_t || m_(t-1)))`` is this project's.
    """
    q = exit_probability(stage, memory, parameters)
    if stage.t == 1:
        best, left, prefix, probs = q, 1 - q, np.ones(len(q), np.int64), stage.mean
    else:
        value = q * memory["left"]
        better = value > memory["best"]
        best = np.maximum(value, memory["best"])
        left = memory["left"] * (1 - q)
        prefix = np.where(better, stage.t, memory["prefix"])
        probs = stage.mean if better.all() else np.where(better[:, None], stage.mean, memory["probs"])
    memory.update(best=best, left=left, prefix=prefix, probs=probs)
    return ExitDecision(best >= left, probs, prefix)


def exit_probability(stage: StageOutput, memory: Memory, parameters: Mapping[str, float]) -> Doubles:
    """``q_t``, ``(r,)`` in [0, 1]; 0 where the sub-model failed."""
    mean = np.maximum(stage.mean, MIN_PROB)
    logs = np.log(mean)
    exponent = parameters["g"] * np.maximum.reduce(logs, axis=1)
    if stage.t > 1:
        divergence = np.add.reduce(mean * (logs - memory["logs"]), axis=1)
        if stage.valid is not None:
            divergence[stage.valid == 1] = 0  # the first usable sub-model
        exponent -= parameters["k"] * divergence
    memory["logs"] = logs
    q: Doubles = np.exp(np.minimum(exponent, 0.0))
    if stage.failed is not None:
        q[stage.failed] = 0
    return q


BATCH_RULES: dict[str, BatchRule] = {
    "confidence": confidence,
    "agreement": agreement,
    "geometric": geometric,
}


def replay_rule(
    probs: Floats, rule: str, parameters: Mapping[str, float], *, max_submodels: int | None = None
) -> EarlyExitResult:
    """What the runtime would answer, given what every sub-model said.

    Args:
        probs: ``(members, n, k)`` float32 in running order; a row with NaN is a failed sub-model.
        rule: a key of ``RULES``, with its ``parameters`` by name.
        max_submodels: at most this many run; None: all.

    Raises:
        InputError: an unknown rule, or an array of another shape or type.
        InferenceError: every allowed sub-model failed for an image.
    """
    if rule not in BATCH_RULES:
        raise InputError(f"expected a rule out of {', '.join(BATCH_RULES)}, got {rule!r}; name one of these")
    if probs.ndim != 3 or probs.dtype != np.float32 or not len(probs):
        raise InputError(
            f"expected probs (members, n, k) float32, got {probs.shape} {probs.dtype}; convert them"
        )
    lost = np.logical_or.reduce(np.isnan(probs), axis=2)  # (members, n)
    usable = np.where(lost[:, :, None], np.float32(0), probs)

    def predict(index: int, rows: Ints | None) -> tuple[Floats, Bools | None]:
        at = slice(None) if rows is None else rows
        failed = lost[index, at]
        return usable[index, at], failed if failed.any() else None

    last = len(probs) if max_submodels is None else min(max_submodels, len(probs))
    return run_early_exit(predict, probs.shape[1], BATCH_RULES[rule], parameters, max_submodels=last)
