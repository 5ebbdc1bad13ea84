"""Early exit for one image in plain Python: one numpy call costs as much as fifty additions.

The same loop as in ``early_exit``; tests hold both to the same answers.
"""

from collections.abc import Callable
from operator import add
from struct import Struct

from eed_edge.gate_rules.gate_rule import GateRule, Parameters, SingleMemory, Vector, mean_of
from eed_edge.runtime.gates.softmax import softmax_row

MAX_CLASSES = 64  # with more, numpy is faster


def run_single_image(
    logits_of: Callable[[int], Vector | None],
    float32: Struct,
    rule: GateRule,
    parameters: Parameters,
    *,
    max_submodels: int,
    warn: Callable[[int], None] | None = None,
) -> tuple[Vector, int, int, list[int]] | None:
    """Run sub-models one after another on one image until the rule stops.

    Args:
        logits_of: takes a sub-model's index from 0; returns its ``k`` logits, None when it failed.
        float32: ``Struct("kf")``, for rounding.
        rule: the gate rule, with its ``parameters`` by name.
        max_submodels: sub-models allowed, at least 1.
        warn: called with the index of a sub-model whose logits are not all finite.

    Returns:
        ``m`` at the answering prefix, how many sub-models ran, the prefix, and which failed;
        None when all did.
    """
    total: Vector = ()  # k, once a sub-model has answered
    memory: SingleMemory = {}
    failed: list[int] = []
    decide = rule.decide_single
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
            answer = decide(t, probs, total, t - len(failed), memory, parameters)
            if answer is not None:
                return answer[0], t, answer[1], failed
    if not total:
        return None
    return mean_of(total, max_submodels - len(failed)), max_submodels, max_submodels, failed
