"""Every ONNX operator of the torch copies gives what onnxruntime gives."""

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from eed_edge.export.int8.operators import OPERATORS

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(0, 1, (2, 4, 6, 6)).astype(np.float32)
ROWS = RNG.normal(0, 1, (3, 5)).astype(np.float32)
POSITIVE = np.abs(ROWS) + 0.1
CONVOLUTION = RNG.normal(0, 1, (6, 2, 3, 3)).astype(np.float32)
CHANNELS = RNG.random(4).astype(np.float32) + 0.5


def integers(*values):
    return np.array(values, np.int64)


CASES = [
    ("Add", [ROWS, ROWS[:1]], {}),
    ("AveragePool", [IMAGES], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", [IMAGES], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1], "count_include_pad": 1}),
    ("AveragePool", [IMAGES], {"kernel_shape": [4, 4], "strides": [3, 3], "ceil_mode": 1}),
    ("BatchNormalization", [IMAGES, CHANNELS, CHANNELS - 1, CHANNELS * 2, CHANNELS], {"epsilon": 1e-3}),
    ("Clip", [ROWS, np.float32(-0.5), np.float32(0.7)], {}),
    ("Clip", [ROWS, None, np.float32(0.7)], {}),
    ("Concat", [ROWS, ROWS * 2], {"axis": 1}),
    ("Conv", [IMAGES, CONVOLUTION], {"group": 2, "strides": [2, 1], "pads": [1, 1, 1, 1]}),
    ("Conv", [IMAGES, CONVOLUTION, CONVOLUTION[:, 0, 0, 0]], {"group": 2, "pads": [0, 1, 2, 0]}),
    ("Conv", [IMAGES, CONVOLUTION], {"group": 2, "dilations": [2, 2], "auto_pad": "VALID"}),
    (
        "DequantizeLinear",
        [(IMAGES * 9).astype(np.int8), CHANNELS, integers(1, 2, 3, 4).astype(np.int8)],
        {"axis": 1},
    ),
    ("DequantizeLinear", [np.arange(20, dtype=np.uint8), np.float32(0.3)], {}),
    ("DequantizeLinear", [np.arange(9, dtype=np.int32), np.array([0.3], np.float32)], {"axis": 0}),
    ("Div", [ROWS, POSITIVE], {}),
    ("Elu", [ROWS], {"alpha": 0.5}),
    ("Erf", [ROWS], {}),
    ("Exp", [ROWS], {}),
    ("Flatten", [IMAGES], {}),
    ("Flatten", [IMAGES], {"axis": 2}),
    ("Gather", [ROWS, integers(2, -1)], {"axis": 1}),
    ("Gather", [ROWS, np.array(0, np.int64)], {"axis": 0}),
    ("Gemm", [ROWS, ROWS, ROWS[:1, :3]], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", [ROWS, ROWS], {"transA": 1}),
    ("GlobalAveragePool", [IMAGES], {}),
    ("HardSwish", [ROWS * 4], {}),
    ("Identity", [ROWS], {}),
    ("InstanceNormalization", [IMAGES, CHANNELS, CHANNELS], {"epsilon": 1e-2}),
    ("LayerNormalization", [ROWS, ROWS[0], ROWS[1]], {"axis": -1, "epsilon": 1e-3}),
    ("LeakyRelu", [ROWS], {"alpha": 0.2}),
    ("Log", [POSITIVE], {}),
    ("MatMul", [ROWS, ROWS.T.copy()], {}),
    ("MaxPool", [IMAGES], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", [IMAGES], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}),
    ("Mish", [ROWS], {}),
    ("Mul", [ROWS, ROWS], {}),
    ("PRelu", [ROWS, ROWS[:1]], {}),
    ("Pad", [IMAGES, integers(0, 0, 1, 2, 0, 0, 3, 0), np.float32(0.5)], {}),
    ("Pow", [POSITIVE, np.float32(1.5)], {}),
    ("QuantizeLinear", [ROWS * 9, np.float32(0.05), np.uint8(100)], {}),
    ("QuantizeLinear", [np.linspace(-3, 3, 13, dtype=np.float32), np.float32(0.5), np.int8(0)], {}),
    ("Reciprocal", [POSITIVE], {}),
    ("ReduceMax", [IMAGES, integers(2, 3)], {"keepdims": 0}),
    ("ReduceMean", [IMAGES, integers(2, 3)], {"keepdims": 1}),
    ("ReduceMean", [IMAGES], {}),
    ("ReduceSum", [IMAGES, integers(-1)], {"keepdims": 0}),
    ("ReduceSum", [ROWS], {"noop_with_empty_axes": 1}),
    ("Relu", [ROWS], {}),
    ("Reshape", [IMAGES, integers(0, -1)], {}),
    ("Shape", [IMAGES], {"start": 0, "end": 2}),
    ("Sigmoid", [ROWS], {}),
    ("Slice", [IMAGES, integers(1, 0), integers(6, 2**31), integers(2, 3), integers(2, 1)], {}),
    ("Softmax", [ROWS], {"axis": 0}),
    ("Softplus", [ROWS], {}),
    ("Split", [IMAGES, integers(1, 3)], {"axis": 1}),
    ("Split", [ROWS], {"axis": 1, "num_outputs": 2}),
    ("Sqrt", [POSITIVE], {}),
    ("Squeeze", [IMAGES[:, :1], integers(1)], {}),
    ("Sub", [ROWS, ROWS[:, :1]], {}),
    ("Tanh", [ROWS], {}),
    ("Transpose", [IMAGES], {"perm": [0, 2, 3, 1]}),
    ("Unsqueeze", [ROWS, integers(0, -1)], {}),
]


def by_onnxruntime(operator, inputs, attributes):
    outputs = ["y", "z"] if operator == "Split" else ["y"]
    arrays = {f"x{i}": np.asarray(each) for i, each in enumerate(inputs) if each is not None}
    node = helper.make_node(
        operator, [f"x{i}" if f"x{i}" in arrays else "" for i in range(len(inputs))], outputs, **attributes
    )
    kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in arrays.items()}
    value_infos = [helper.make_tensor_value_info(name, kinds[name], arrays[name].shape) for name in arrays]
    kind = TensorProto.INT64 if operator == "Shape" else TensorProto.FLOAT
    kind = kinds["x2"] if operator == "QuantizeLinear" else kind
    value_infos += [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    graph = helper.make_graph([node], "one", value_infos[: len(arrays)], value_infos[len(arrays) :])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, arrays)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)]
)
def test_an_operator_in_torch_gives_what_onnxruntime_gives(operator, inputs, attributes):
    tensors = [None if each is None else torch.from_numpy(np.array(each)) for each in inputs]
    as_in_files = {
        each.name: helper.get_attribute_value(each)
        for each in (helper.make_attribute(name, value) for name, value in attributes.items())
    }
    by_torch = OPERATORS[operator](tensors, as_in_files)
    by_torch = by_torch if isinstance(by_torch, tuple) else (by_torch,)
    for actual, expected in zip(by_torch, by_onnxruntime(operator, inputs, attributes), strict=True):
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual.numpy(), expected, atol=1e-5, rtol=1e-5)


def test_every_operator_has_a_case():
    assert {operator for operator, *_ in CASES} == set(OPERATORS)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"),
    [
        ("Conv", [IMAGES, CONVOLUTION], {"auto_pad": b"SAME_UPPER"}),
        ("AveragePool", [IMAGES], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}),
        ("Pad", [IMAGES, integers(*[0] * 8)], {"mode": b"reflect"}),
        ("Slice", [ROWS, integers(4), integers(0), integers(1), integers(-1)], {}),
    ],
)
def test_what_an_operator_cannot_do_is_an_error_and_no_wrong_answer(operator, inputs, attributes):
    with pytest.raises(ValueError, match=r"pad|differs|backwards"):
        OPERATORS[operator]([torch.from_numpy(np.array(each)) for each in inputs], attributes)
