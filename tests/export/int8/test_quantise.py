"""Quantised files: their types, ranges and opsets, as the runtime wants them."""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import quantize_static

from eed_edge.errors import ExportError
from eed_edge.export.int8.quantise import quantise
from eed_edge.runtime.bundle import onnx_scan


@pytest.fixture(scope="module")
def made(small):
    _, model, images = small
    return quantise(model, images)


def layers(model):
    """Of every layer with weights: the constants behind its inputs, by the type that is stored."""
    graph = onnx.load_from_string(model).graph
    stored = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    by_output = {node.output[0]: node for node in graph.node}
    ranges = []
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            before = by_output.get(node.input[1])
            ranges.append((before, stored) if before is not None else (None, stored))
    return ranges


def test_only_the_standard_domain_is_imported_and_the_device_s_check_passes(made):
    model = onnx.load_from_string(made)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= onnx_scan.inspect(made, "x").operators


def test_opsets_of_other_domains_that_a_quantiser_names_are_removed(small, monkeypatch):
    """Some versions and inputs of the quantiser give up to nine imports."""
    from eed_edge.export.int8 import quantise as module

    def naming_more(source, target, *arguments, **settings):
        quantize_static(source, target, *arguments, **settings)
        model = onnx.load(target)
        model.opset_import.extend(
            onnx.helper.make_opsetid(domain, 1)
            for domain in ("com.microsoft", "ai.onnx.ml", "ai.onnx.training")
        )
        onnx.save(model, target)

    monkeypatch.setattr(module, "quantize_static", naming_more)
    model = onnx.load_from_string(quantise(small[1], small[2]))
    assert [entry.domain for entry in model.opset_import] == [""]


def test_weights_are_int8_within_seven_bits_a_scale_for_each_channel_but_in_the_first_and_last_layer(made):
    kinds = []
    for dequantised, stored in layers(made):
        kinds.append(None if dequantised is None else dequantised.op_type)
        if dequantised is not None:
            weight, scale = (stored[name] for name in dequantised.input[:2])
            assert weight.dtype == np.int8
            assert np.abs(weight.astype(int)).max() <= 64
            assert scale.shape == weight.shape[:1]
    assert kinds == [None, "DequantizeLinear", "DequantizeLinear", None]


def test_activations_are_uint8(made):
    graph = onnx.load_from_string(made).graph
    stored = {each.name: each.data_type for each in graph.initializer}
    zero_points = {node.input[2] for node in graph.node if node.op_type == "QuantizeLinear"}
    assert zero_points
    assert {stored[name] for name in zero_points} == {TensorProto.UINT8}


def test_labels_are_those_of_the_float_file_but_for_a_few(small, made):
    _, model, images = small
    before, after = (
        onnxruntime.InferenceSession(each, providers=["CPUExecutionProvider"]).run(None, {"images": images})[
            0
        ]
        for each in (model, made)
    )
    assert np.abs(before - after).max() < 0.05 * np.ptp(before)
    assert (before.argmax(1) != after.argmax(1)).mean() <= 0.05


def scales(model):
    graph = onnx.load_from_string(model).graph
    stored = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    return np.array([stored[node.input[1]] for node in graph.node if node.op_type == "QuantizeLinear"])


def test_scales_are_those_of_the_images_and_equal_images_give_equal_bytes(small, made):
    _, model, images = small
    assert (scales(quantise(model, 3 * images)) > 1.5 * scales(made)).all()
    assert quantise(model, images) == made


def test_the_user_s_logging_is_left_as_it_was(small):
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    quantise(small[1], small[2][:8])
    assert (root.level, root.handlers) == before


def test_a_file_that_cannot_be_quantised_is_told_in_one_line(small):
    with pytest.raises(
        ExportError, match=r"^onnxruntime cannot quantise the network: [^\n]*; export without int8$"
    ):
        quantise(small[1], np.zeros((2, 3, 8, 8), np.float32))
