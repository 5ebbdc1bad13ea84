"""Replay a gate rule over recorded probabilities."""

from collections.abc import Sequence

import numpy as np

from eed_edge.arrays import Bools, Floats, Ints
from eed_edge.errors import InputError
from eed_edge.gate_rules.gate_rule import Parameters
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.runtime.gates.early_exit import EarlyExitResult, run_early_exit


def replay_rule(
    probs: Floats,
    rule: str,
    parameters: Parameters,
    *,
    max_submodels: int | None = None,
    temperatures: Sequence[float] | None = None,
) -> EarlyExitResult:
    """Return the answers that the runtime gives when the sub-models return ``probs``.

    Args:
        probs: ``(members, n, k)`` float32 in running order; a row with NaN is a failed sub-model.
        rule: a key of ``GATE_RULES``, with its ``parameters`` by name.
        max_submodels: at most this many run; None: all.
        temperatures: one for each prefix; None: answers are the means themselves.

    Raises:
        InputError: an unknown rule, or an array of another shape or type.
        InferenceError: every allowed sub-model failed for an image.
    """
    if rule not in GATE_RULES:
        raise InputError(f"expected a rule out of {', '.join(GATE_RULES)}, got {rule!r}; name one of these")
    if probs.ndim != 3 or probs.dtype != np.float32 or not len(probs):
        raise InputError(
            f"expected probs (members, n, k) float32, got {probs.shape} {probs.dtype}; convert them"
        )
    failures = np.logical_or.reduce(np.isnan(probs), axis=2)  # (members, n)
    usable = np.where(failures[:, :, None], np.float32(0), probs)

    def predict(index: int, rows: Ints | None) -> tuple[Floats, Bools | None]:
        at = slice(None) if rows is None else rows
        failed = failures[index, at]
        return usable[index, at], failed if failed.any() else None

    allowed = len(probs) if max_submodels is None else min(max_submodels, len(probs))
    return run_early_exit(
        predict,
        probs.shape[1],
        GATE_RULES[rule],
        parameters,
        max_submodels=allowed,
        temperatures=temperatures,
    )
