"""One image in plain Python numbers: between two sub-models a numpy call costs as much as fifty additions.

The same rules as in ``gating`` and the same walk as in ``walk``; a test holds them to the same answers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from operator import add, mul, sub, truediv
from struct import Struct
from typing import Any

from eed_edge.runtime.gates.batch_rules import MIN_PROB
from eed_edge.runtime.gates.softmax import softmax_row

MAX_CLASSES = 64  # with more, numpy is faster

Vector = Sequence[float]
Memory = dict[str, Any]
Answer = tuple[Vector, int]  # m_prefix and prefix

# t, probs of this sub-model, sum of the probs so far, number of these, memory, parameters.
SingleImageRule = Callable[[int, Vector, Vector, int, Memory, Mapping[str, float]], Answer | None]


def run_single_image(
    logits_of: Callable[[int], Vector | None],
    float32: Struct,
    rule: SingleImageRule,
    parameters: Mapping[str, float],
    *,
    max_submodels: int,
    warn: Callable[[int], None] | None = None,
) -> tuple[Vector, int, int, list[int]] | None:
    """Run sub-models one after another on one image.

    Args:
        say: takes a sub-model's index from 0; gives its ``k`` logits, None when it failed.
        float32: ``Struct("kf")``, for rounding.
        rule: one of ``RULES``, with its ``parameters`` by name.
        max_submodels: sub-models allowed, at least 1.
        warn: told the index of a sub-model whose logits are not all finite.

    Returns:
        ``m`` at the answering prefix, how many sub-models ran, the prefix, and which failed;
        None when all did.
    """
    total: Vector = ()  # k, once a sub-model has answered
    memory: Memory = {}
    failed: list[int] = []
    for t in range(1, max_submodels + 1):
        logits = logits_of(t - 1)
        probs = None if logits is None else softmax_row(logits, float32)
        if probs is None:
            if logits is not None and warn is not None:
                warn(t - 1)
            failed.append(t - 1)
            continue
        total = list(map(add, total, probs)) if total else probs
        if t < max_submodels:
            answer = rule(t, probs, total, t - len(failed), memory, parameters)
            if answer is not None:
                return answer[0], t, answer[1], failed
    return (
        (_mean(total, max_submodels - len(failed)), max_submodels, max_submodels, failed) if total else None
    )


def confidence(
    t: int, probs: Vector, total: Vector, count: int, memory: Memory, parameters: Mapping[str, float]
) -> Answer | None:
    """As ``gating.confidence``."""
    return (_mean(total, count), t) if max(total) / count >= parameters["threshold"] else None


def agreement(
    t: int, probs: Vector, total: Vector, count: int, memory: Memory, parameters: Mapping[str, float]
) -> Answer | None:
    """As ``gating.agreement``."""
    cast = memory.setdefault("votes", [])
    cast.append(probs.index(max(probs)))
    if t == 1 or len(cast) < parameters["votes"]:
        return None
    return (_mean(total, count), t) if cast.count(total.index(max(total))) >= parameters["votes"] else None


def geometric(
    t: int, probs: Vector, total: Vector, count: int, memory: Memory, parameters: Mapping[str, float]
) -> Answer | None:
    """As ``gating.geometric``."""
    mean = _mean(total, count)
    clamped = mean if min(mean) > MIN_PROB else [max(p, MIN_PROB) for p in mean]
    logs = list(map(math.log, clamped))
    exponent = parameters["g"] * max(logs)
    before, best, left, answer = memory.get("state", (None, -1.0, 1.0, (mean, t)))
    if before is not None:
        exponent -= parameters["k"] * sum(map(mul, clamped, map(sub, logs, before)))
    q = math.exp(min(exponent, 0.0))
    if q * left > best:
        best, answer = q * left, (mean, t)
    left *= 1 - q
    memory["state"] = logs, best, left, answer
    return answer if best >= left else None


SINGLE_IMAGE_RULES: dict[str, SingleImageRule] = {
    "confidence": confidence,
    "agreement": agreement,
    "geometric": geometric,
}


def _mean(total: Vector, count: int) -> Vector:
    return list(map(truediv, total, repeat(count)))
