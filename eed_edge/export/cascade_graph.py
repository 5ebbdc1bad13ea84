"""The ensemble and its gate as one standard ONNX graph: any batch size, each image stops on its own.

After a sub-model the rows that are still undecided are gathered under an ``If`` and go on in its branch;
their answers are scattered back. Means and decisions are float64, as in the Python runtime. A sub-model
that yields NaN or infinity for an image is left out of that image's mean and named in its bit of
``failed_submodels``; probabilities are NaN where all failed. ``If`` truly skips on CPU providers; some NPU
providers run both branches, and CUDA is slow with it.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from eed_edge.errors import ExportError
from eed_edge.export.agreement_graph import agreement_graph
from eed_edge.export.confidence_graph import confidence_graph
from eed_edge.export.geometric_graph import geometric_graph
from eed_edge.export.graph_builder import GateGraph, GraphBuilder, StageTensors, State
from eed_edge.export.network_graph import INPUT, OPSET, OUTPUT
from eed_edge.gate_rules.gate_rule import Parameters
from eed_edge.manifest import Manifest, dump_manifest
from eed_edge.runtime.bundle.single_file import ABSTAINED, CLASSES_KEY, MANIFEST_KEY, OUTPUTS

PROBABILITIES, USED, FAILED = OUTPUTS

GATE_GRAPHS: dict[str, GateGraph] = {
    "confidence": confidence_graph,
    "agreement": agreement_graph,
    "geometric": geometric_graph,
}


def to_cascade(models: Sequence[bytes], manifest: Manifest) -> bytes:
    """Return one ONNX file that takes ``images`` and gives the answers of the ensemble.

    Outputs: ``probabilities (N, k)``, after the manifest's temperatures, ``submodels_used (N,)``,
    ``failed_submodels (N,)``, whose bit t is set where sub-model t was left out, and ``abstained (N,)`` where
    the manifest has ``abstain``.

    Args:
        models: every sub-model as ``to_onnx`` returns it, in running order.
        manifest: gate, classes and input; it goes into the file's metadata.

    Raises:
        ExportError: the graph does not pass onnx's full check.
    """
    gate = manifest.gate
    model = cascade_model(
        models[: gate.max_submodels],
        rule=gate.rule,
        parameters=gate.parameters_of(gate.rule),
        image_shape=manifest.input.shape,
        classes=len(manifest.classes),
        temperatures=manifest.temperatures,
        abstain_below=None if manifest.abstain is None else manifest.abstain.threshold,
    )
    texts = {CLASSES_KEY: json.dumps(manifest.classes), MANIFEST_KEY: dump_manifest(manifest).decode()}
    helper.set_model_props(model, texts)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise ExportError(
            f"the cascade does not pass onnx's check: {' '.join(str(error).split())}"
        ) from error
    return bytes(model.SerializeToString(deterministic=True))


def cascade_model(
    models: Sequence[bytes],
    *,
    rule: str,
    parameters: Parameters,
    image_shape: Sequence[str | int],
    classes: int,
    temperatures: Sequence[float] | None = None,
    abstain_below: float | None = None,
) -> Any:
    """Return the cascade as an ``onnx.ModelProto`` without metadata.

    Args:
        models: the sub-models that may run, at least one.
        rule: a key of ``GATE_GRAPHS``, with its ``parameters`` by name.
        image_shape: ``("N", c, h, w)``.
        temperatures: one for each prefix; None: answers are the means themselves.
        abstain_below: the largest probability below which ``abstained`` is true; None: no such output.
    """
    cascade = _Cascade([onnx.load_from_string(model) for model in models], rule, parameters, classes)
    scope = GraphBuilder("s0")
    probs, used, failed, *prefix = cascade.stage(0, scope, INPUT, {})
    if temperatures is not None:
        probs = _with_temperature(scope, probs, prefix[0] if prefix else used, temperatures)
    outputs = [
        helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["N", classes]),
        helper.make_tensor_value_info(USED, TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info(FAILED, TensorProto.INT64, ["N"]),
    ]
    scope.nodes += [
        helper.make_node("Cast", [probs], [PROBABILITIES], to=TensorProto.FLOAT),
        helper.make_node("Identity", [used], [USED]),
        helper.make_node("Identity", [failed], [FAILED]),
    ]
    if abstain_below is not None:
        largest = scope.over_row("ReduceMax", PROBABILITIES)
        enough = scope.add("GreaterOrEqual", largest, scope.constant(abstain_below, np.float32))
        scope.nodes.append(helper.make_node("Not", [enough], [ABSTAINED]))
        outputs.append(helper.make_tensor_value_info(ABSTAINED, TensorProto.BOOL, ["N"]))
    images = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, list(image_shape))
    graph = helper.make_graph(scope.nodes, "cascade", [images], outputs, scope.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="eed-edge")
    model.ir_version = min(cascade.models[0].ir_version, 10)
    return model


def _with_temperature(scope: GraphBuilder, means: str, prefix: str, temperatures: Sequence[float]) -> str:
    """Return the answers ``(r, k)`` to the power of one over their prefix's temperature, by their sum."""
    exponents = scope.constant([0.0, *(1 / each for each in temperatures)], np.float64)  # no prefix is 0
    exponent = scope.column(scope.add("Gather", exponents, prefix))
    row = scope.constant([1], np.int64)
    powers = scope.add("Pow", scope.add("Div", means, scope.add("ReduceMax", means, row)), exponent)
    return scope.add("Div", powers, scope.add("ReduceSum", powers, row))


class _Cascade:
    """Builder of the nodes of every stage; ``models`` are parsed sub-models in running order."""

    def __init__(self, models: Sequence[Any], rule: str, parameters: Parameters, classes: int) -> None:
        self.models = models
        self.gate = GATE_GRAPHS[rule]
        self.parameters = parameters
        self.classes = classes

    def stage(self, t: int, scope: GraphBuilder, images: str, state: State) -> tuple[str, ...]:
        """Run sub-model ``t`` on the rows of this scope; return the names of answers, counts and failures.

        A fourth name is that of the answers' prefixes, where the rule has them.
        """
        logits = self._submodel(t, scope, images)
        zeros = scope.add("Sub", logits, logits)  # but NaN where a logit is NaN or infinite
        zero = scope.constant(0, np.float32)
        is_valid = scope.add("Equal", scope.over_row("ReduceSum", zeros), zero)  # (r,)
        column = scope.column(is_valid)
        softmax = scope.add("Cast", scope.add("Softmax", logits, axis=1), to=TensorProto.DOUBLE)
        probs = scope.add("Where", column, softmax, scope.constant(0, np.float64))
        valid = scope.add("Cast", column, to=TensorProto.DOUBLE)
        bit, none = scope.constant(1 << t, np.int64), scope.constant(0, np.int64)
        failed = scope.add("Where", is_valid, none, bit)
        total = probs
        if t:
            total, valid, failed = (
                scope.add("Add", state[key], name)
                for key, name in (("total", total), ("valid", valid), ("failed", failed))
            )
        mean = scope.add("Div", total, valid)
        used = scope.filled(t + 1, is_valid)
        if t + 1 == len(self.models):
            return (mean, used, failed, used) if "prefix" in state else (mean, used, failed)
        stage = StageTensors(t, self.classes, probs, mean, is_valid, valid)
        decision = self.gate(scope, stage, state, self.parameters)
        state = {**decision.memory, "total": total, "valid": valid, "failed": failed}
        if decision.stop is None:
            return self.stage(t + 1, scope, images, state)
        so_far: tuple[str, ...] = (decision.answer, used, failed)
        if "prefix" in state:
            so_far = (*so_far, state["prefix"])
        return self._continue_undecided(t, scope, images, decision.stop, so_far, state)

    def _continue_undecided(
        self, t: int, scope: GraphBuilder, images: str, stop: str, so_far: tuple[str, ...], state: State
    ) -> tuple[str, ...]:
        """Run the next stage on the undecided rows, inside a branch that is skipped when there are none."""
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
        outputs = [f"{scope.prefix}/result_{i}" for i in range(len(so_far))]
        scope.nodes.append(helper.make_node("If", [any_left], outputs, name=f"{scope.prefix}/If", **branches))
        return tuple(outputs)

    def _branch(self, scope: GraphBuilder, outputs: Sequence[str]) -> Any:
        answer, *counts = outputs
        infos = [helper.make_tensor_value_info(answer, TensorProto.DOUBLE, [None, self.classes])]
        infos += [helper.make_tensor_value_info(name, TensorProto.INT64, [None]) for name in counts]
        return helper.make_graph(scope.nodes, scope.prefix, [], infos, scope.constants)

    def _submodel(self, t: int, scope: GraphBuilder, images: str) -> str:
        """Copy the nodes of sub-model ``t`` into the scope; return the name of its logits."""
        renamed = onnx.compose.add_prefix(self.models[t], f"m{t}/")
        source = renamed.graph.input[0].name
        for node in renamed.graph.node:
            for i, name in enumerate(node.input):
                if name == source:
                    node.input[i] = images
        scope.nodes += renamed.graph.node
        scope.constants += renamed.graph.initializer
        return f"m{t}/{OUTPUT}"
