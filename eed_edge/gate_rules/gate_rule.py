"""The interface of a gate rule: what one rule must provide, and what it sees after every sub-model.

A rule is one class in one file of this folder, listed in ``rule_registry``; its ONNX twin is in
``export``, its torch twin in ``evaluate/adaptive``. A contract test holds all of them to the same decisions.
What the manifest, the calibration and the check of ``cascade.onnx`` must know of a rule, the class declares.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import repeat
from operator import truediv
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Bools, Doubles, Floats, Ints

MIN_PROB = 1e-12  # probabilities are clamped here before a logarithm

Parameters = Mapping[str, Any]
"""The parameters of a rule by name: numbers, and ``thresholds``, a number for each stop."""
Memory = dict[str, NDArray[Any]]
Vector = Sequence[float]
SingleMemory = dict[str, Any]
SingleAnswer = tuple[Vector, int]  # m_prefix and prefix


@dataclass(frozen=True)
class RuleParameters:
    """The calibrated parameters of a rule, one field each, as the manifest has them.

    Fields with the metadata ``optional`` may be None; the rule's grids leave them out, and schema 1 has none.

    Raises:
        BundleError: a parameter is out of range.
    """

    def check_submodels(self, submodels: int) -> None:
        """Check that the parameters fit so many sub-models.

        Raises:
            BundleError: they do not.
        """


class StageOutput(NamedTuple):
    """State after sub-model ``t`` (from 1), for the ``r`` images that are still undecided."""

    t: int
    probs: Floats  # (r, k) of this sub-model, 0 where it failed
    mean: Doubles  # (r, k) m_t, over the sub-models that did not fail
    failed: Bools | None  # (r,) this sub-model failed; None: for no image
    valid: Ints | None  # (r,) sub-models that did not fail so far; None: all t


class ExitDecision(NamedTuple):
    """Which images stop now, and the answer of each image that does."""

    stop: Bools  # (r,)
    probs: Doubles  # (r, k)
    prefix: int | Ints  # m_prefix is the answer


class GateRule(ABC):
    """When to stop: after each sub-model but the last allowed one, decide which images stop.

    ``memory`` holds what the rule carries from stage to stage; it starts empty, and the caller keeps its
    arrays, images along the first axis, to the images that are still undecided.
    """

    parameters_type: type[RuleParameters]
    graph_operator: str
    """The operator of the ONNX twin that takes each of ``graph_constants`` as its last input."""
    graph_constant_type: type = float
    """Of these constants: ``float`` for double, ``int`` for int64."""

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Return the parameters that are always set; the report's threshold curve varies the first one."""
        return tuple(one.name for one in fields(self.parameters_type) if not one.metadata.get("optional"))

    @abstractmethod
    def decide(self, stage: StageOutput, memory: Memory, parameters: Parameters) -> ExitDecision:
        """Decide for a batch. The caller ignores a stop where this sub-model failed."""

    @abstractmethod
    def decide_single(
        self, t: int, probs: Vector, total: Vector, valid: int, memory: SingleMemory, parameters: Parameters
    ) -> SingleAnswer | None:
        """Decide for one image in plain Python, as ``decide`` does; None: go on.

        Not called where sub-model ``t`` failed.

        Args:
            t: sub-models run so far.
            probs: ``k`` float32 values, of this sub-model.
            total: ``k``, the sum of the probabilities of the ``valid`` sub-models that did not fail.
        """

    @abstractmethod
    def margin(self, stage: StageOutput, memory: Memory, parameters: Parameters) -> Doubles:
        """Return how far the closest comparison of ``decide`` was from a tie, ``(r,)``; update memory."""

    @abstractmethod
    def calibration_grid(self, members: int) -> list[dict[str, float]]:
        """Return the parameters that calibration tries, from the safest to the least safe."""

    @abstractmethod
    def curve_values(self, members: int) -> Sequence[float]:
        """Return the values of the first parameter on the report's threshold curve."""

    @abstractmethod
    def parameters_from_threshold(self, threshold: Any, members: int) -> dict[str, float]:
        """Check a caller's threshold and return it as the rule's parameters.

        Raises:
            InputError: out of range, of another type, or the rule has no threshold.
        """

    @abstractmethod
    def graph_constants(self, parameters: Parameters, stops: int) -> Iterable[float]:
        """Return the parameters that the ONNX twin stores, one for each time that it does.

        Args:
            stops: sub-models after which the rule is asked: all that may run but the last.
        """

    def refine(self, parameters: Parameters, probs: Sequence[Floats]) -> Parameters:
        """Return equivalent parameters further from a tie on ``probs``, each ``(members, n, k)``."""
        return parameters


def lead(probs: Floats | Doubles) -> Doubles:
    """Return how far the most probable class is ahead of the second, ``(n,)``."""
    ahead: Doubles = np.diff(np.partition(probs, -2, axis=1)[:, -2:], axis=1)[:, 0]
    return ahead


def mean_of(total: Vector, count: int) -> Vector:
    """Return ``total / count``, element by element."""
    return total if count == 1 else list(map(truediv, total, repeat(count)))
