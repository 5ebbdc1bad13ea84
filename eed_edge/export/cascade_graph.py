"""The whole ensemble and its gate as one standard ONNX graph: any batch size, each image stops by itself.

After a sub-model the rows that are still undecided are gathered under an ``If`` and go on in its branch;
their answers are scattered back. Means and decisions are float64, as in the Python runtime. ``If`` truly
skips on CPU providers; some NPU providers run both branches, and CUDA is slow with it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from eed_edge.errors import ExportError
from eed_edge.export.graph import INPUT, OPSET, OUTPUT
from eed_edge.manifest import Manifest, dump
from eed_edge.runtime.single_file import MANIFEST_KEY, OUTPUTS

PROBABILITIES, USED = OUTPUTS
TINY = 1e-12
State = dict[str, str]
"""What a stage hands to the next, by name: ``total`` and what the rule remembers, ``(rows, …)`` each."""


class Scope:
    """The nodes and constants of one graph or branch; names are unique over the whole file."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node and give the name of its output."""
        name = f"{self.prefix}/{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: Any, kind: type[np.generic]) -> str:
        """A constant and its name."""
        name = f"{self.prefix}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name


def to_cascade(models: Sequence[bytes], manifest: Manifest) -> bytes:
    """One ONNX file with input ``images`` and outputs ``probabilities (N, k)``, ``submodels_used (N,)``.

    Args:
        models: every sub-model as ``graph.to_onnx`` gave it, in running order.
        manifest: gate, classes and input; it goes into the file's metadata.

    Raises:
        ExportError: the graph does not pass onnx's full check.
    """
    gate, classes = manifest.gate, len(manifest.classes)
    last = min(gate.max_submodels or len(models), len(models))
    builder = _Builder([onnx.load_from_string(model) for model in models[:last]], manifest)
    scope = Scope("s0")
    probs, used = builder.stage(0, scope, INPUT, {})
    scope.nodes += [
        helper.make_node("Cast", [probs], [PROBABILITIES], to=TensorProto.FLOAT),
        helper.make_node("Identity", [used], [USED]),
    ]
    graph = helper.make_graph(
        scope.nodes,
        "cascade",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, list(manifest.input.shape))],
        [
            helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["N", classes]),
            helper.make_tensor_value_info(USED, TensorProto.INT64, ["N"]),
        ],
        scope.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="eed-edge")
    model.ir_version = min(onnx.load_from_string(models[0]).ir_version, 10)
    texts = {"eed_edge.classes": json.dumps(manifest.classes), MANIFEST_KEY: dump(manifest).decode()}
    helper.set_model_props(model, texts)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise ExportError(
            f"the cascade does not pass onnx's check: {' '.join(str(error).split())}"
        ) from error
    return bytes(model.SerializeToString(deterministic=True))


class _Builder:
    def __init__(self, models: Sequence[Any], manifest: Manifest) -> None:
        self.models = models
        self.classes = len(manifest.classes)
        self.rule = manifest.gate.rule
        self.parameters: Mapping[str, float] = manifest.gate.parameters_of(self.rule)

    def stage(self, t: int, scope: Scope, images: str, state: State) -> tuple[str, str]:
        """Run sub-model ``t`` on the rows of this scope; names of answers ``(r, k)`` and counts ``(r,)``."""
        said = scope.add("Softmax", self._submodel(t, scope, images), axis=1)
        probs = scope.add("Cast", said, to=TensorProto.DOUBLE)
        total = scope.add("Add", state["total"], probs) if t else probs
        mean = scope.add("Div", total, scope.constant(t + 1, np.float64))
        used = self._count(t + 1, scope, mean)
        if t + 1 == len(self.models):
            return mean, used
        stop, answer, kept = RULES[self.rule](self, t, scope, probs, mean, state)
        kept["total"] = total
        if stop is None:  # this rule never stops here
            return self.stage(t + 1, scope, images, kept)
        return self._go_on(t, scope, images, stop, answer, used, kept)

    def _go_on(
        self, t: int, scope: Scope, images: str, stop: str, answer: str, used: str, state: State
    ) -> tuple[str, str]:
        """The undecided rows go through the next stage inside a branch, if there are any."""
        rows = scope.add("Transpose", scope.add("NonZero", scope.add("Not", stop)), perm=[1, 0])  # (u, 1)
        any_left = scope.add("Greater", scope.add("Size", rows), scope.constant(0, np.int64))
        inside, outside = Scope(f"s{t + 1}"), Scope(f"e{t + 1}")
        places = inside.add("Squeeze", rows, inside.constant([1], np.int64))
        gathered = {key: inside.add("Gather", name, places, axis=0) for key, name in state.items()}
        later = self.stage(t + 1, inside, inside.add("Gather", images, places, axis=0), gathered)
        results = []
        for before, after in zip((answer, used), later, strict=True):
            results.append(inside.add("ScatterND", before, rows, after))
        untouched = [outside.add("Identity", name) for name in (answer, used)]
        branches = {
            "then_branch": self._branch(inside, results),
            "else_branch": self._branch(outside, untouched),
        }
        outputs = [f"{scope.prefix}/answer", f"{scope.prefix}/used"]
        scope.nodes.append(helper.make_node("If", [any_left], outputs, name=f"{scope.prefix}/If", **branches))
        return outputs[0], outputs[1]

    def _branch(self, scope: Scope, outputs: Sequence[str]) -> Any:
        answer, used = outputs
        infos = [
            helper.make_tensor_value_info(answer, TensorProto.DOUBLE, [None, self.classes]),
            helper.make_tensor_value_info(used, TensorProto.INT64, [None]),
        ]
        return helper.make_graph(scope.nodes, scope.prefix, [], infos, scope.constants)

    def _submodel(self, t: int, scope: Scope, images: str) -> str:
        """Put the nodes of sub-model ``t`` into the scope; the name of its logits."""
        renamed = onnx.compose.add_prefix(self.models[t], f"m{t}/")
        source = renamed.graph.input[0].name
        for node in renamed.graph.node:
            for i, name in enumerate(node.input):
                if name == source:
                    node.input[i] = images
        scope.nodes += renamed.graph.node
        scope.constants += renamed.graph.initializer
        return f"m{t}/{OUTPUT}"

    def _count(self, value: int, scope: Scope, mean: str) -> str:
        """``(r,)`` int64, all ``value``."""
        first = scope.constant([0], np.int64), scope.constant([1], np.int64)
        rows = scope.add("Slice", scope.add("Shape", mean), *first)
        tensor = helper.make_tensor("value", TensorProto.INT64, [1], [value])
        return scope.add("ConstantOfShape", rows, value=tensor)

    def largest(self, scope: Scope, values: str) -> str:
        """``(r,)``: the largest of each row."""
        return scope.add("ReduceMax", values, scope.constant([1], np.int64), keepdims=0)

    def confidence(
        self, t: int, scope: Scope, probs: str, mean: str, state: State
    ) -> tuple[str | None, str, State]:
        """Stop where ``max(m_t) >= threshold``."""
        threshold = scope.constant(self.parameters["threshold"], np.float64)
        return scope.add("GreaterOrEqual", self.largest(scope, mean), threshold), mean, {}

    def agreement(
        self, t: int, scope: Scope, probs: str, mean: str, state: State
    ) -> tuple[str | None, str, State]:
        """Stop from the second on where enough sub-models vote for the argmax of the mean."""
        vote = scope.add("ArgMax", probs, axis=1, keepdims=0)
        onoff = scope.constant([0, 1], np.int64)
        cast = scope.add("OneHot", vote, scope.constant(self.classes, np.int64), onoff, axis=1)
        cast = scope.add("Add", state["votes"], cast) if t else cast
        if not t:
            return None, mean, {"votes": cast}
        supporters = scope.add("GatherElements", cast, scope.add("ArgMax", mean, axis=1, keepdims=1), axis=1)
        supporters = scope.add("Squeeze", supporters, scope.constant([1], np.int64))
        votes = scope.constant(int(self.parameters["votes"]), np.int64)
        return scope.add("GreaterOrEqual", supporters, votes), mean, {"votes": cast}

    def geometric(
        self, t: int, scope: Scope, probs: str, mean: str, state: State
    ) -> tuple[str | None, str, State]:
        """Stop as soon as nothing later can win (eq. 21)."""
        one = scope.constant(1, np.float64)
        clamped = scope.add("Max", mean, scope.constant(TINY, np.float64))
        logs = scope.add("Log", clamped)
        exponent = scope.add(
            "Mul", self.largest(scope, logs), scope.constant(self.parameters["g"], np.float64)
        )
        if t:
            apart = scope.add("Mul", clamped, scope.add("Sub", logs, state["logs"]))
            divergence = scope.add("ReduceSum", apart, scope.constant([1], np.int64), keepdims=0)
            weighed = scope.add("Mul", divergence, scope.constant(self.parameters["k"], np.float64))
            exponent = scope.add("Sub", exponent, weighed)
        q = scope.add("Min", scope.add("Exp", exponent), one)
        rest = scope.add("Sub", one, q)
        best, left, answer = q, rest, mean
        if t:
            value = scope.add("Mul", q, state["left"])
            better = scope.add("Greater", value, state["best"])
            column = scope.add("Unsqueeze", better, scope.constant([1], np.int64))
            best = scope.add("Max", value, state["best"])
            left = scope.add("Mul", state["left"], rest)
            answer = scope.add("Where", column, mean, state["answer"])
        kept = {"logs": logs, "best": best, "left": left, "answer": answer}
        return scope.add("GreaterOrEqual", best, left), answer, kept


RULES = {
    "confidence": _Builder.confidence,
    "agreement": _Builder.agreement,
    "geometric": _Builder.geometric,
}
