"""No tensor that onnxruntime computes is larger than the walk says; it is given the same graph."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from eed_edge.runtime.bundle.admit import admit
from eed_edge.runtime.bundle.limits import DEFAULT_LIMITS
from eed_edge.runtime.bundle.onnx_scan import inspect
from eed_edge.runtime.bundle.walk.graph_walk import walk_model
from eed_edge.runtime.bundle.walk.sizes import ITEM_BYTES
from tests.hostile.walk.models import SOUND


def computed(raw, batch):
    """Every tensor of the main graph, by onnxruntime without any optimisation."""
    proto = onnx.load_model_from_string(raw)
    names = [name for node in proto.graph.node for name in node.output]
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    size = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    images = np.random.default_rng(0).random((batch, *size), np.float32)
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("case", SOUND)
def test_no_tensor_is_larger_than_its_bound_and_exact_sizes_are_exact(case, batch):
    bounds = walk_model(inspect(SOUND[case], "a"), "a", DEFAULT_LIMITS)
    for name, array in computed(SOUND[case], batch).items():
        bound = bounds[name]
        assert array.dtype == helper.tensor_dtype_to_np_dtype(bound.kind), name
        assert array.itemsize == ITEM_BYTES[bound.kind]
        assert len(bound.shape) == array.ndim, name
        for actual, size in zip(array.shape, bound.shape, strict=True):
            largest = size.factor * batch**size.power
            assert actual == largest if size.exact else actual <= largest, (name, array.shape, bound.shape)
        for actual, size in zip(np.ravel(array), bound.values or (), strict=bound.values is not None):
            largest = size.factor * batch**size.power
            assert actual == largest if size.exact else actual <= largest, name


def clear_documentation(graph):
    graph.ClearField("doc_string")
    for part in [*graph.initializer, *graph.input, *graph.output, *graph.node]:
        part.ClearField("doc_string")
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        attribute.ClearField("doc_string")
        if attribute.type == onnx.AttributeProto.GRAPH:
            clear_documentation(attribute.g)


@pytest.mark.parametrize("case", SOUND)
def test_the_bytes_for_onnxruntime_have_the_same_graph_and_answers(case):
    again = onnx.load_model_from_string(admit(SOUND[case], "a"))
    before = onnx.load_model_from_string(SOUND[case])
    for graph in (before.graph, again.graph):
        clear_documentation(graph)
    for field in ("node", "initializer", "input", "output"):
        assert list(getattr(again.graph, field)) == list(getattr(before.graph, field))
    for name, array in computed(admit(SOUND[case], "a"), 2).items():
        np.testing.assert_array_equal(array, computed(SOUND[case], 2)[name])


def test_nothing_that_was_not_judged_is_written():
    proto = onnx.load_model_from_string(SOUND["pools"])
    proto.doc_string = proto.graph.doc_string = proto.graph.node[0].doc_string = "secret"
    proto.graph.value_info.append(helper.make_tensor_value_info("secret", TensorProto.FLOAT, [1]))
    proto.producer_name = "secret"
    raw = proto.SerializeToString()
    assert b"secret" in raw
    assert b"secret" not in admit(raw, "a")
