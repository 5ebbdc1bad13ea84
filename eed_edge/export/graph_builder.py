"""Building blocks of the cascade's ONNX graph, and the interface of a gate rule in it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from eed_edge.gate_rules.gate_rule import Parameters

State = dict[str, str]
"""Tensor names that a stage hands to the next, ``(rows, …)`` each: ``total``, the sum of the probabilities of
the ``valid`` sub-models so far, the ``failed`` bits, and the memory of the rule. A rule that may answer with
an earlier prefix has ``prefix`` in its memory, that of the answer."""


class StageTensors(NamedTuple):
    """Tensor names after sub-model ``t`` (from 0), for the ``r`` images that are still undecided."""

    t: int
    classes: int
    probs: str  # (r, k), 0 where it failed
    mean: str  # (r, k), NaN where all have failed so far
    is_valid: str  # (r,) bool: it did not fail
    valid: str  # (r, 1) sub-models that did not fail so far


class GraphDecision(NamedTuple):
    """Tensor names of a rule's decision."""

    stop: str | None  # (r,) bool; None: it never stops here
    answer: str  # (r, k) if it does
    memory: State


class GraphBuilder:
    """The nodes and constants of one graph or branch; names are unique over the whole file."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        name = f"{self.prefix}/{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: Any, kind: type[np.generic]) -> str:
        """Append a constant and return its name."""
        name = f"{self.prefix}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def over_row(self, operator: str, values: str) -> str:
        """Reduce every row: ``(r, k)`` to ``(r,)``."""
        return self.add(operator, values, self.constant([1], np.int64), keepdims=0)

    def column(self, values: str) -> str:
        """Reshape ``(r,)`` to ``(r, 1)``."""
        return self.add("Unsqueeze", values, self.constant([1], np.int64))

    def squeeze(self, values: str) -> str:
        """Reshape ``(r, 1)`` to ``(r,)``."""
        return self.add("Squeeze", values, self.constant([1], np.int64))

    def filled(self, value: int, row: str) -> str:
        """Return int64 of the shape of ``row``, all ``value``."""
        tensor = helper.make_tensor("value", TensorProto.INT64, [1], [value])
        return self.add("ConstantOfShape", self.add("Shape", row), value=tensor)


GateGraph = Callable[[GraphBuilder, StageTensors, State, Parameters], GraphDecision]
"""A gate rule as ONNX nodes: takes the state of the stage before and the rule's parameters by name."""
