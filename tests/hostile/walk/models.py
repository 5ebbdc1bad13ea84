"""Small models that use every allowed operator, made by the onnx package."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

STORED = Path(__file__).parents[2] / "formats" / "version-0.1" / "bundle"
SIZE = (4, 6, 8)


def ints(*values):
    return np.array(values, np.int64)


def floats(*shape):
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def model(*nodes, opset=18, **constants):
    """A model of ``images`` (N, 4, 6, 8); a node is its operator, inputs, outputs and attributes."""
    made = [
        helper.make_node(operator, inputs.replace("-", "").split(" "), outputs.split(), **attributes)
        for operator, inputs, outputs, attributes in nodes
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", *SIZE])
    last = helper.make_node("Identity", ["images"], ["last"])
    output = helper.make_tensor_value_info("last", TensorProto.FLOAT, ["N", *SIZE])
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph([*made, last], "g", [images], [output], tensors)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


W3, W1 = floats(8, 4, 3, 3), floats(4, 2, 2, 2)
SCALE, POINT = np.float32([0.1] * 4), np.zeros(4, np.int8)
SOUND = {
    "convolutions": model(
        ("Conv", "images w", "a", {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ("Conv", "images w", "b", {"dilations": [2, 2], "kernel_shape": [3, 3]}),
        ("Conv", "images w", "c", {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
        ("Conv", "images w", "d", {"auto_pad": "VALID"}),
        ("Conv", "images g", "e", {"group": 2}),
        (
            "ConvTranspose",
            "images t",
            "f",
            {"strides": [2, 3], "pads": [1, 0, 0, 0], "output_padding": [1, 0]},
        ),
        ("ConvTranspose", "images t", "h", {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
        w=W3,
        g=W1,
        t=floats(4, 5, 3, 3),
    ),
    "pools": model(
        ("MaxPool", "images", "a", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        ("AveragePool", "images", "b", {"kernel_shape": [2, 3], "pads": [1, 1, 0, 0]}),
        ("GlobalAveragePool", "images", "c", {}),
        ("MaxPool", "images", "d", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ),
    "shapes": model(
        ("Shape", "images", "s", {}),
        ("Shape", "images", "n", {"end": 1}),
        ("Squeeze", "n", "m", {}),
        ("Range", "zero m one", "r", {}),
        ("Mul", "r k", "rk", {}),
        ("Unsqueeze", "rk axes", "u", {}),
        ("Reshape", "images flat", "f", {}),
        ("Reshape", "f back", "g", {"allowzero": 1}),
        ("Reshape", "images s", "same", {}),
        ("Concat", "n k1", "nk", {"axis": 0}),
        ("Expand", "row nk", "e", {}),
        ("ConstantOfShape", "nk", "z", {}),
        ("Tile", "images t", "tiled", {}),
        ("Gather", "images i", "gi", {"axis": 2}),
        ("Gather", "s i0", "h", {"axis": 0}),
        ("Slice", "images a b ax", "cut", {}),
        ("Slice", "images b a ax down", "back_cut", {}),
        ("Split", "images", "p q", {"axis": 1, "num_outputs": 2}),
        ("Transpose", "images", "tr", {}),
        ("Split", "images parts", "p1 q1", {"axis": 1}),
        ("Pad", "images pads", "pad", {}),
        ("Concat", "images images", "cc", {"axis": 0}),
        ("Concat", "images p", "cd", {"axis": 1}),
        ("Flatten", "images", "fl", {"axis": 2}),
        ("Size", "images", "size", {}),
        ("Reshape", "images copy", "cp", {}),
        zero=np.int64(0),
        one=np.int64(1),
        k=np.int64(3),
        k1=ints(3),
        axes=ints(1, 2),
        flat=ints(-1, 24),
        back=ints(-1, 4, 6, 8),
        row=floats(1, 3),
        t=ints(1, 2, 1, 1),
        i=ints(0, 2),
        i0=ints(1),
        a=ints(1),
        b=ints(-1),
        ax=ints(3),
        down=ints(-1),
        parts=ints(1, 3),
        pads=ints(0, 0, 1, 0, 0, 0, 0, 2),
        copy=ints(0, 0, -1),
    ),
    "values": model(
        ("ReduceMean", "images ax", "a", {"keepdims": 0}),
        ("ReduceMax", "images", "b", {}),
        ("ReduceSum", "images -", "c", {"noop_with_empty_axes": 1}),
        ("ArgMax", "images", "d", {"axis": 1}),
        ("MatMul", "images w", "e", {}),
        ("Flatten", "images", "f", {}),
        ("Gemm", "f g", "h", {"transB": 1}),
        ("Greater", "images half", "i", {}),
        ("Where", "i images half", "j", {}),
        ("NonZero", "i", "k", {}),
        ("Cast", "i", "l", {"to": TensorProto.DOUBLE}),
        ("Softmax", "h", "m", {"axis": 1}),
        ("Add", "images channel", "n", {}),
        ("Clip", "images - half", "o", {}),
        ("Max", "images half n", "p", {}),
        ("GatherElements", "h idx", "q", {"axis": 1}),
        ("ScatterND", "half2 at upd", "r", {}),
        ("Resize", "images - scales", "s", {}),
        ax=ints(2, 3),
        w=floats(8, 5),
        g=floats(7, 192),
        half=np.float32(0.5),
        channel=floats(4, 1, 1),
        idx=ints(0, 1).reshape(1, 2),
        half2=floats(3, 2),
        at=ints(0).reshape(1, 1),
        upd=floats(1, 2),
        scales=np.float32([1, 1, 2, 1.5]),
    ),
    "quantised": model(
        ("QuantizeLinear", "images s z", "q", {}),
        ("DequantizeLinear", "q s z", "d", {}),
        ("DequantizeLinear", "w ws wz", "wd", {"axis": 0}),
        ("DequantizeLinear", "b bs", "bd", {"axis": 0}),
        ("Conv", "d wd bd", "c", {}),
        ("QuantizeLinear", "images s", "q2", {}),
        s=np.float32(0.1),
        z=np.uint8(128),
        w=np.ones((4, 4, 1, 1), np.int8),
        ws=SCALE,
        wz=POINT,
        b=np.ones(4, np.int32),
        bs=SCALE,
    ),
}
SOUND |= {path.stem: path.read_bytes() for path in STORED.glob("*.onnx")}
