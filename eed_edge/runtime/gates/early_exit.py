"""Walk the sub-models in order, each over the images still undecided; runtime and calibration share it.

Sub-models say float32 probabilities; means and decisions are float64, row by row, so an image's answer
does not depend on its neighbours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Bools, Doubles, Floats, Ints
from eed_edge.runtime.failures import all_failed_error

Memory = dict[str, NDArray[Any]]


class StageOutput(NamedTuple):
    """What a rule sees after sub-model ``t`` (from 1), for the ``r`` images not yet decided."""

    t: int
    probs: Floats  # (r, k) of this sub-model, 0 where it failed
    mean: Doubles  # (r, k) m_t, over the sub-models that did not fail
    failed: Bools | None  # (r,) this sub-model gave no usable answer; None: it did for all
    valid: Ints | None  # (r,) sub-models that did not fail so far; None: all t


class ExitDecision(NamedTuple):
    """Which images stop now, and the answer of each image that does."""

    stop: Bools  # (r,)
    probs: Doubles  # (r, k)
    prefix: int | Ints  # m_prefix is the answer


class BatchRule(Protocol):
    """``memory`` holds what a rule carries from stage to stage, images along the first axis."""

    def __call__(
        self, stage: StageOutput, memory: Memory, parameters: Mapping[str, float], /
    ) -> ExitDecision: ...


@dataclass(frozen=True)
class EarlyExitResult:
    """The answers of one walk over ``n`` images.

    probs: ``(n, k)`` float32, ``m_t`` at ``t = answer_prefix``.
    labels: ``(n,)`` int64, the first maximum of ``probs``.
    submodels_used: ``(n,)`` int64, sub-models that were run.
    answer_prefix: ``(n,)`` int64, at most ``submodels_used``.
    complete: False when ``may_start`` ended the work of at least one image.
    """

    probs: Floats
    labels: Ints
    submodels_used: Ints
    answer_prefix: Ints
    complete: bool

    @classmethod
    def empty(cls, classes: int) -> "EarlyExitResult":
        """The answers for no images."""
        none: Ints = np.empty(0, np.int64)
        return cls(np.empty((0, classes), np.float32), none, none, none, complete=True)


Predict = Callable[[int, Ints | None], tuple[Floats, Bools | None]]


def run_early_exit(
    predict: Predict,
    count: int,
    rule: BatchRule,
    parameters: Mapping[str, float],
    *,
    max_submodels: int,
    may_start: Callable[[int, int], bool] | None = None,
) -> EarlyExitResult:
    """Run sub-models one after another, each on the images that are still undecided.

    A sub-model that fails for an image counts as run, but has no part in the mean and stops nothing.

    Args:
        predict: takes a sub-model's index from 0 and the ``(r,)`` rows still undecided, None for
            all; gives ``(r, k)`` probabilities, 0 in failed rows, and the ``(r,)`` mask of these.
        count: images.
        rule: one of ``gating.RULES``, with its ``parameters`` by name.
        max_submodels: sub-models allowed, at least 1.
        may_start: takes a sub-model's index and the count of images left; False ends the work of
            every image that has a usable answer.

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
            verdict = ExitDecision(_usable(valid, len(probs)), mean, t)
        else:
            verdict = rule(StageOutput(t, probs, mean, failed, valid), memory, parameters)
            if failed is not None:
                verdict = verdict._replace(stop=verdict.stop & ~failed)
        left = _count_left(verdict.stop)
        if left and t < max_submodels and may_start is not None and not may_start(t, left):
            verdict = answers.stop_at_deadline(verdict, mean, _usable(valid, len(probs)), t)
            left = _count_left(verdict.stop)
        stop = verdict.stop
        if not left or left < len(stop):
            answers.record(rows, verdict, t)
        if not left:
            return answers.result()
        if left < len(stop):
            keep = np.flatnonzero(~stop)
            rows = keep if rows is None else rows[keep]
            total, valid = total[keep], None if valid is None else valid[keep]
            memory = {name: array[keep] for name, array in memory.items()}
    raise all_failed_error(max_submodels, left, count)


class _Answers:
    """The answers so far; arrays are made at the first partial stop, most walks of one image need none."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.complete = True
        self.probs: Floats | None = None

    def record(self, rows: Ints | None, verdict: ExitDecision, t: int) -> None:
        """Write down the answers of the images that stop."""
        done = verdict.stop
        if self.probs is None:
            if np.count_nonzero(done) == self.count:
                prefix = verdict.prefix
                self.probs, self.used = verdict.probs.astype(np.float32), np.full(self.count, t)
                self.prefix = np.full(self.count, prefix) if isinstance(prefix, int) else prefix
                return
            self.probs = np.empty((self.count, verdict.probs.shape[1]), np.float32)
            self.prefix, self.used = np.empty(self.count, np.int64), np.empty(self.count, np.int64)
        at = done if rows is None else rows[done]
        self.probs[at] = verdict.probs[done]
        self.prefix[at] = verdict.prefix if isinstance(verdict.prefix, int) else verdict.prefix[done]
        self.used[at] = t

    def stop_at_deadline(self, verdict: ExitDecision, mean: Doubles, usable: Bools, t: int) -> ExitDecision:
        """The verdict when nothing more may run: undecided images get ``m_t`` if they have any answer."""
        stop = verdict.stop
        self.complete &= np.array_equal(stop, usable)
        probs = np.where(stop[:, None], verdict.probs, mean)
        return ExitDecision(usable, probs, np.where(stop, verdict.prefix, t))

    def result(self) -> EarlyExitResult:
        assert self.probs is not None
        return EarlyExitResult(self.probs, self.probs.argmax(axis=1), self.used, self.prefix, self.complete)


def _count_valid(valid: Ints | None, failed: Bools | None, t: int) -> Ints | None:
    if failed is not None:
        return (np.full(len(failed), t - 1) if valid is None else valid) + ~failed
    return valid if valid is None else valid + 1


def _usable(valid: Ints | None, count: int) -> Bools:
    return np.ones(count, bool) if valid is None else valid > 0


def _mean(total: Doubles, valid: Ints | None, t: int) -> Doubles:
    if valid is None:
        return total if t == 1 else total / t
    return total / np.maximum(valid, 1)[:, None]


def _count_left(stop: Bools) -> int:
    return len(stop) - int(np.count_nonzero(stop))
