"""The whole ensemble and its gate as one standard ONNX graph: any batch size, each image stops by itself.

After a sub-model the rows that are still undecided are gathered under an ``If`` and go on in its branch;
their answers are scattered back. Means and decisions are float64, as in the Python runtime. A sub-model
that yields NaN or infinity for an image is left out of that image's mean and named in its bit of
``failed_submodels``; probabilities are NaN where all failed. ``If`` truly skips on CPU providers; some NPU
providers run both branches, and CUDA is slow with it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from eed_edge.errors import ExportError
from eed_edge.export.network_graph import INPUT, OPSET, OUTPUT
from eed_edge.manifest import Manifest, dump_manifest
from eed_edge.runtime.bundle.single_file import CLASSES_KEY, MANIFEST_KEY, OUTPUTS
from eed_edge.runtime.gates.batch_rules import MIN_PROB

PROBABILITIES, USED, FAILED = OUTPUTS
State = dict[str, str]
"""What a stage hands to the next, by name, ``(rows, …)`` each: ``total``, the sum of the probabilities of the
``valid`` sub-models so far, the ``failed`` bits, and what the rule remembers."""


class StageTensors(NamedTuple):
    """What a rule sees after a sub-model, by name."""

    probs: str  # (r, k), 0 where it failed
    mean: str  # (r, k), NaN where all have failed so far
    is_valid: str  # (r,) bool: it did not fail
    valid: str  # (r, 1) sub-models that did not fail so far


class GraphDecision(NamedTuple):
    """What a rule says, by name."""

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
    """One ONNX file that takes ``images`` and gives the answers of the whole ensemble.

    Outputs: ``probabilities (N, k)``, ``submodels_used (N,)`` and ``failed_submodels (N,)``, whose bit t
    is set where sub-model t was left out.

    Args:
        models: every sub-model as ``graph.to_onnx`` gave it, in running order.
        manifest: gate, classes and input; it goes into the file's metadata.

    Raises:
        ExportError: the graph does not pass onnx's full check.
    """
    gate, classes = manifest.gate, len(manifest.classes)
    last = min(gate.max_submodels or len(models), len(models))
    builder = _Builder([onnx.load_from_string(model) for model in models[:last]], manifest)
    scope = GraphBuilder("s0")
    probs, used, failed = builder.stage(0, scope, INPUT, {})
    scope.nodes += [
        helper.make_node("Cast", [probs], [PROBABILITIES], to=TensorProto.FLOAT),
        helper.make_node("Identity", [used], [USED]),
        helper.make_node("Identity", [failed], [FAILED]),
    ]
    graph = helper.make_graph(
        scope.nodes,
        "cascade",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, list(manifest.input.shape))],
        [
            helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["N", classes]),
            helper.make_tensor_value_info(USED, TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info(FAILED, TensorProto.INT64, ["N"]),
        ],
        scope.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="eed-edge")
    model.ir_version = min(onnx.load_from_string(models[0]).ir_version, 10)
    texts = {CLASSES_KEY: json.dumps(manifest.classes), MANIFEST_KEY: dump_manifest(manifest).decode()}
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

    def stage(self, t: int, scope: GraphBuilder, images: str, state: State) -> tuple[str, str, str]:
        """Run sub-model ``t`` on the rows of this scope; names of answers ``(r, k)``, counts, failures."""
        logits = self._submodel(t, scope, images)
        zeros = scope.add("Sub", logits, logits)  # but NaN where a logit is NaN or infinite
        zero = scope.constant(0, np.float32)
        fine = scope.add("Equal", self.over_row("ReduceSum", scope, zeros), zero)  # (r,)
        column = self.column(scope, fine)
        said = scope.add("Cast", scope.add("Softmax", logits, axis=1), to=TensorProto.DOUBLE)
        probs = scope.add("Where", column, said, scope.constant(0, np.float64))
        valid = scope.add("Cast", column, to=TensorProto.DOUBLE)
        bit, none = scope.constant(1 << t, np.int64), scope.constant(0, np.int64)
        failed = scope.add("Where", fine, none, bit)
        total = probs
        if t:
            total, valid, failed = (
                scope.add("Add", state[key], name)
                for key, name in (("total", total), ("valid", valid), ("failed", failed))
            )
        mean = scope.add("Div", total, valid)
        used = self._count(t + 1, scope, fine)
        if t + 1 == len(self.models):
            return mean, used, failed
        verdict = GRAPH_RULES[self.rule](self, t, scope, StageTensors(probs, mean, fine, valid), state)
        kept = {**verdict.memory, "total": total, "valid": valid, "failed": failed}
        if verdict.stop is None:
            return self.stage(t + 1, scope, images, kept)
        return self._continue_undecided(t, scope, images, verdict.stop, (verdict.answer, used, failed), kept)

    def _continue_undecided(
        self, t: int, scope: GraphBuilder, images: str, stop: str, so_far: tuple[str, str, str], state: State
    ) -> tuple[str, str, str]:
        """The undecided rows go through the next stage inside a branch, if there are any."""
        rows = scope.add("Transpose", scope.add("NonZero", scope.add("Not", stop)), perm=[1, 0])  # (u, 1)
        any_left = scope.add("Greater", scope.add("Size", rows), scope.constant(0, np.int64))
        inside, outside = GraphBuilder(f"s{t + 1}"), GraphBuilder(f"e{t + 1}")
        places = inside.add("Squeeze", rows, inside.constant([1], np.int64))
        gathered = {key: inside.add("Gather", name, places, axis=0) for key, name in state.items()}
        later = self.stage(t + 1, inside, inside.add("Gather", images, places, axis=0), gathered)
        results = [
            inside.add("ScatterND", before, rows, after) for before, after in zip(so_far, later, strict=True)
        ]
        untouched = [outside.add("Identity", name) for name in so_far]
        branches = {
            "then_branch": self._branch(inside, results),
            "else_branch": self._branch(outside, untouched),
        }
        answer, used, failed = (f"{scope.prefix}/{name}" for name in ("answer", "used", "failed"))
        outputs = [answer, used, failed]
        scope.nodes.append(helper.make_node("If", [any_left], outputs, name=f"{scope.prefix}/If", **branches))
        return answer, used, failed

    def _branch(self, scope: GraphBuilder, outputs: Sequence[str]) -> Any:
        answer, *counts = outputs
        infos = [helper.make_tensor_value_info(answer, TensorProto.DOUBLE, [None, self.classes])]
        infos += [helper.make_tensor_value_info(name, TensorProto.INT64, [None]) for name in counts]
        return helper.make_graph(scope.nodes, scope.prefix, [], infos, scope.constants)

    def _submodel(self, t: int, scope: GraphBuilder, images: str) -> str:
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

    def _count(self, value: int, scope: GraphBuilder, row: str) -> str:
        """``(r,)`` int64, all ``value``."""
        tensor = helper.make_tensor("value", TensorProto.INT64, [1], [value])
        return scope.add("ConstantOfShape", scope.add("Shape", row), value=tensor)

    def over_row(self, operator: str, scope: GraphBuilder, values: str) -> str:
        """``(r,)``: a reduction of each row."""
        return scope.add(operator, values, scope.constant([1], np.int64), keepdims=0)

    def column(self, scope: GraphBuilder, values: str) -> str:
        """``(r,)`` as ``(r, 1)``."""
        return scope.add("Unsqueeze", values, scope.constant([1], np.int64))

    def confidence(self, t: int, scope: GraphBuilder, said: StageTensors, state: State) -> GraphDecision:
        """Stop where ``max(m_t) >= threshold``."""
        threshold = scope.constant(self.parameters["threshold"], np.float64)
        largest = self.over_row("ReduceMax", scope, said.mean)
        return GraphDecision(scope.add("GreaterOrEqual", largest, threshold), said.mean, {})

    def agreement(self, t: int, scope: GraphBuilder, said: StageTensors, state: State) -> GraphDecision:
        """Stop from the second on where enough sub-models vote for the argmax of the mean."""
        vote = scope.add("ArgMax", said.probs, axis=1, keepdims=0)
        nobody = scope.constant(self.classes, np.int64)  # out of range: a vote for no class
        vote = self.column(scope, scope.add("Where", said.is_valid, vote, nobody))
        classes = scope.constant(range(self.classes), np.int64)
        # Not OneHot: for an empty batch onnxruntime 1.20 to 1.26 crashes in it.
        cast = scope.add("Cast", scope.add("Equal", vote, classes), to=TensorProto.INT64)
        cast = scope.add("Add", state["votes"], cast) if t else cast
        if not t:
            return GraphDecision(None, said.mean, {"votes": cast})
        favourite = scope.add("ArgMax", said.mean, axis=1, keepdims=1)
        supporters = scope.add("GatherElements", cast, favourite, axis=1)
        supporters = scope.add("Squeeze", supporters, scope.constant([1], np.int64))
        votes = scope.constant(int(self.parameters["votes"]), np.int64)
        stop = scope.add("And", scope.add("GreaterOrEqual", supporters, votes), said.is_valid)
        return GraphDecision(stop, said.mean, {"votes": cast})

    def geometric(self, t: int, scope: GraphBuilder, said: StageTensors, state: State) -> GraphDecision:
        """Stop as soon as nothing later can win (eq. 21)."""
        zero, one = scope.constant(0, np.float64), scope.constant(1, np.float64)
        clamped = scope.add("Max", said.mean, scope.constant(MIN_PROB, np.float64))
        logs = scope.add("Log", clamped)
        weight = scope.constant(self.parameters["g"], np.float64)
        exponent = scope.add("Mul", self.over_row("ReduceMax", scope, logs), weight)
        if t:
            apart = scope.add("Mul", clamped, scope.add("Sub", logs, state["logs"]))
            divergence = self.over_row("ReduceSum", scope, apart)
            weighed = scope.add("Mul", divergence, scope.constant(self.parameters["k"], np.float64))
            valid = scope.add("Squeeze", said.valid, scope.constant([1], np.int64))
            weighed = scope.add("Where", scope.add("Greater", valid, one), weighed, zero)
            exponent = scope.add("Sub", exponent, weighed)
        q = scope.add("Where", said.is_valid, scope.add("Min", scope.add("Exp", exponent), one), zero)
        rest = scope.add("Sub", one, q)
        best, left, answer = q, rest, said.mean
        if t:
            value = scope.add("Mul", q, state["left"])
            better = self.column(scope, scope.add("Greater", value, state["best"]))
            best = scope.add("Max", value, state["best"])
            left = scope.add("Mul", state["left"], rest)
            answer = scope.add("Where", better, said.mean, state["answer"])
        memory = {"logs": logs, "best": best, "left": left, "answer": answer}
        return GraphDecision(scope.add("GreaterOrEqual", best, left), answer, memory)


GRAPH_RULES = {
    "confidence": _Builder.confidence,
    "agreement": _Builder.agreement,
    "geometric": _Builder.geometric,
}
