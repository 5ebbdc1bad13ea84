"""Early exit for a batch: run sub-models in order on the images that are still undecided (EED, eq. 20).

The runtime and the calibration share this loop. Sub-models return float32 probabilities; means and decisions
are float64, row by row, so an image's answer does not depend on its neighbours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from eed_edge.arrays import Bools, Doubles, Floats, Ints
from eed_edge.gate_rules.gate_rule import ExitDecision, GateRule, Memory, Parameters, StageOutput
from eed_edge.runtime.failures import all_failed_error
from eed_edge.runtime.gates.temperature import with_temperature


@dataclass(frozen=True)
class EarlyExitResult:
    """The answers for ``n`` images.

    probs: ``(n, k)`` float32, ``m_t`` at ``t = answer_prefix``, after its temperature.
    labels: ``(n,)`` int64, the first maximum of ``probs``.
    submodels_used: ``(n,)`` int64, sub-models that were run.
    answer_prefix: ``(n,)`` int64, at most ``submodels_used``.
    complete: False when ``may_start`` stopped early for at least one image.
    """

    probs: Floats
    labels: Ints
    submodels_used: Ints
    answer_prefix: Ints
    complete: bool

    @classmethod
    def empty(cls, classes: int) -> "EarlyExitResult":
        """Return the answers for no images."""
        no_counts: Ints = np.empty(0, np.int64)
        no_probs: Floats = np.empty((0, classes), np.float32)
        return cls(no_probs, no_counts, no_counts, no_counts, complete=True)


Predict = Callable[[int, Ints | None], tuple[Floats, Bools | None]]


def run_early_exit(
    predict: Predict,
    count: int,
    rule: GateRule,
    parameters: Parameters,
    *,
    max_submodels: int,
    may_start: Callable[[int, int], bool] | None = None,
    temperatures: Sequence[float] | None = None,
) -> EarlyExitResult:
    """Run sub-models one after another, each on the images that are still undecided.

    A sub-model that fails for an image counts as run, but is left out of the mean and stops nothing.

    Args:
        predict: takes a sub-model's index from 0 and the ``(r,)`` undecided rows, None for all;
            returns ``(r, k)`` probabilities, 0 in failed rows, and the ``(r,)`` mask of failed rows.
        count: images.
        rule: the gate rule, with its ``parameters`` by name.
        max_submodels: sub-models allowed, at least 1.
        may_start: takes a sub-model's index and the count of undecided images; False stops every image
            for which a sub-model has answered.
        temperatures: one for each prefix; None: answers are the means themselves.

    Raises:
        InferenceError: every allowed sub-model failed for an image.
    """
    rows = total = valid = None
    memory: Memory = {}
    answers = _Answers(count)
    for t in range(1, max_submodels + 1):
        probs, failed = predict(t - 1, rows)
        total = probs.astype(np.float64) if total is None else total + probs
        valid = _count_valid(valid, failed, t)
        mean = _mean(total, valid, t)
        if t == max_submodels:
            decision = ExitDecision(_answered(valid, len(probs)), mean, t)
        else:
            decision = rule.decide(StageOutput(t, probs, mean, failed, valid), memory, parameters)
            if failed is not None:
                decision = decision._replace(stop=decision.stop & ~failed)
        undecided = _count_undecided(decision.stop)
        if undecided and t < max_submodels and may_start is not None and not may_start(t, undecided):
            decision = answers.stop_at_deadline(decision, mean, _answered(valid, len(probs)), t)
            undecided = _count_undecided(decision.stop)
        stop = decision.stop
        if not undecided or undecided < len(stop):
            answers.record(rows, decision, t)
        if not undecided:
            return answers.result(temperatures)
        if undecided < len(stop):
            keep = np.flatnonzero(~stop)
            rows = keep if rows is None else rows[keep]
            total, valid = total[keep], None if valid is None else valid[keep]
            memory = {name: array[keep] for name, array in memory.items()}
    raise all_failed_error(max_submodels, undecided, count)


class _Answers:
    """The answers so far; the arrays are allocated at the first stop of some images but not all."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.complete = True
        self.probs: Doubles | None = None

    def record(self, rows: Ints | None, decision: ExitDecision, t: int) -> None:
        """Store the answers of the images that stop at ``t``; ``rows`` are the undecided, None: all."""
        stop = decision.stop
        if self.probs is None:
            if np.count_nonzero(stop) == self.count:
                prefix = decision.prefix
                self.probs, self.used = decision.probs, np.full(self.count, t)
                self.prefix = np.full(self.count, prefix) if isinstance(prefix, int) else prefix
                return
            self.probs = np.empty((self.count, decision.probs.shape[1]))
            self.prefix, self.used = np.empty(self.count, np.int64), np.empty(self.count, np.int64)
        at = stop if rows is None else rows[stop]
        self.probs[at] = decision.probs[stop]
        self.prefix[at] = decision.prefix if isinstance(decision.prefix, int) else decision.prefix[stop]
        self.used[at] = t

    def stop_at_deadline(
        self, decision: ExitDecision, mean: Doubles, answered: Bools, t: int
    ) -> ExitDecision:
        """Stop every image for which a sub-model has answered; those still undecided get ``m_t``."""
        stop = decision.stop
        self.complete &= np.array_equal(stop, answered)
        probs = np.where(stop[:, None], decision.probs, mean)
        return ExitDecision(answered, probs, np.where(stop, decision.prefix, t))

    def result(self, temperatures: Sequence[float] | None) -> EarlyExitResult:
        assert self.probs is not None
        exact = self.probs
        if temperatures is not None:
            exact = with_temperature(exact, self.prefix, temperatures)
        probs = exact.astype(np.float32)
        return EarlyExitResult(probs, probs.argmax(axis=1), self.used, self.prefix, self.complete)


def _count_valid(valid: Ints | None, failed: Bools | None, t: int) -> Ints | None:
    if failed is not None:
        return (np.full(len(failed), t - 1) if valid is None else valid) + ~failed
    return valid if valid is None else valid + 1


def _answered(valid: Ints | None, count: int) -> Bools:
    return np.ones(count, bool) if valid is None else valid > 0


def _mean(total: Doubles, valid: Ints | None, t: int) -> Doubles:
    if valid is None:
        return total if t == 1 else total / t
    return total / np.maximum(valid, 1)[:, None]


def _count_undecided(stop: Bools) -> int:
    return len(stop) - int(np.count_nonzero(stop))
