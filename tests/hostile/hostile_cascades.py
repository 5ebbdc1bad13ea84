"""A ``cascade.onnx`` or ``dense.onnx`` that is sound and is not the one of its bundle."""

import json
from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from eed_edge import digest_json
from eed_edge import manifest as contract
from tests.hostile.changed_bundle import Generator, with_file
from tests.hostile.hostile_manifests import put


def edited(change: Callable[[onnx.ModelProto], None]) -> Callable[[bytes, contract.Manifest], bytes]:
    def make(raw: bytes, _: contract.Manifest) -> bytes:
        model = onnx.load_model_from_string(raw)
        change(model)
        return model.SerializeToString()

    return make


def graphs(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    inner = [a.g for n in graph.node for a in n.attribute if a.type == onnx.AttributeProto.GRAPH]
    return [graph, *(one for branch in inner for one in graphs(branch))]


def negate(model: onnx.ModelProto) -> None:
    """Negate the weights of every last layer."""
    for graph in graphs(model.graph):
        last = {name for n in graph.node if n.op_type == "Gemm" for name in n.input[1:]}
        for tensor in graph.initializer:
            if tensor.name in last:
                tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))


def move_threshold(model: onnx.ModelProto) -> None:
    """Move every double constant that a decision compares with, by little."""
    for graph in graphs(model.graph):
        compared = {n.input[1] for n in graph.node if n.op_type == "GreaterOrEqual"}
        for tensor in graph.initializer:
            if tensor.name in compared:
                moved = numpy_helper.to_array(tensor) + 1e-9
                tensor.CopyFrom(numpy_helper.from_array(np.asarray(moved), tensor.name))


def manifest_inside(change: Callable[[dict], dict]) -> Callable[[onnx.ModelProto], None]:
    def apply(model: onnx.ModelProto) -> None:
        for prop in model.metadata_props:
            if prop.key == "eed_edge.manifest":
                prop.value = digest_json.seal(change(json.loads(prop.value))).decode()

    return apply


def a_single_member(raw: bytes, manifest: contract.Manifest) -> bytes:
    """The answers of the first sub-model in the place of the ensemble's, under the same metadata."""
    model = onnx.load_model_from_string(raw)
    (branch,) = (n for n in model.graph.node if n.op_type == "If")
    outside = next(a.g for a in branch.attribute if a.name == "else_branch")
    nodes = [n for n in model.graph.node if n.op_type != "If"]
    at = next(i for i, n in enumerate(model.graph.node) if n.op_type == "If")
    ends = [
        helper.make_node("Identity", [inner.input[0]], [name])
        for inner, name in zip(outside.node, branch.output, strict=True)
    ]
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:at], *ends, *nodes[at:]])
    return model.SerializeToString()


OTHER_MODELS: dict[str, Generator] = {
    "cascade: negated": with_file("cascade.onnx", edited(negate)),
    "cascade: a single member": with_file("cascade.onnx", a_single_member),
    "cascade: another threshold": with_file("cascade.onnx", edited(move_threshold)),
    "cascade: another threshold inside": with_file(
        "cascade.onnx",
        edited(manifest_inside(lambda m: put(m, "gate.parameters.confidence.threshold", 0.123))),
    ),
    "cascade: other preprocessing inside": with_file(
        "cascade.onnx", edited(manifest_inside(lambda m: put(m, "input.preprocess.alpha", "white")))
    ),
    "cascade: no model": with_file("cascade.onnx", lambda *_: b"no model"),
    "dense: negated": with_file("dense.onnx", edited(negate)),
    "dense: no model": with_file("dense.onnx", lambda *_: b"no model"),
}
