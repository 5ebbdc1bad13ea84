"""Operators that a bundle may use, and the range of each of their attributes, by opset.

Source:
    the operator schemas of onnx; ``tests/hostile/walk/test_attributes.py`` compares with the package.
"""

import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from eed_edge.runtime.bundle.onnx_scan import Message
from eed_edge.runtime.bundle.walk.sizes import ITEM_BYTES, MOST_AXES

OPSETS = range(18, 22)
_INT64 = 1 << 63


class Attribute(NamedTuple):
    """One attribute: the field that holds it, ONNX's number of its type, its range, and its first opset."""

    field: str
    kind: int
    accepts: Callable[[Any], bool]
    range: str
    since: int = OPSETS.start


def _integer(least: int, most: int, *, since: int = OPSETS.start) -> Attribute:
    return Attribute("i", 2, lambda value: least <= value <= most, f"{least} to {most}", since)


def _integers(least: int, most: int) -> Attribute:
    return Attribute(
        "ints",
        7,
        lambda values: len(values) <= 2 * MOST_AXES and all(least <= value <= most for value in values),
        f"up to {2 * MOST_AXES} numbers from {least} to {most}",
    )


def _text(*choices: str) -> Attribute:
    return Attribute("s", 3, choices.__contains__, " or ".join(choices))


_REAL = Attribute("f", 1, math.isfinite, "a finite number")
_TENSOR = Attribute("t", 4, lambda _: True, "a tensor")
_GRAPH = Attribute("g", 5, lambda _: True, "a graph")
_FLAG, _OFF = _integer(0, 1), _integer(0, 0)
_AXIS = _integer(-MOST_AXES, MOST_AXES)
_KIND = Attribute("i", 2, ITEM_BYTES.__contains__, f"a type out of {', '.join(map(str, ITEM_BYTES))}")
_AUTO_PAD = _text("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
_EXTENTS, _PADS = _integers(1, 4096), _integers(0, 4096)
_REDUCE = {"keepdims": _FLAG, "noop_with_empty_axes": _FLAG}
_WINDOW = {"auto_pad": _AUTO_PAD, "kernel_shape": _EXTENTS, "pads": _PADS, "strides": _EXTENTS}
_POOL = {**_WINDOW, "ceil_mode": _FLAG}
_CONV = {**_WINDOW, "dilations": _EXTENTS, "group": _integer(1, 1 << 20)}
_ARG = {"axis": _AXIS, "keepdims": _FLAG, "select_last_index": _FLAG}
_RESIZE = {
    "antialias": _FLAG,
    "coordinate_transformation_mode": _text(
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"
    ),
    "cubic_coeff_a": _REAL,
    "exclude_outside": _FLAG,
    "extrapolation_value": _REAL,
    "keep_aspect_ratio_policy": _text("stretch"),
    "mode": _text("nearest", "linear", "cubic"),
    "nearest_mode": _text("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
}

REDUCTIONS = tuple(f"Reduce{name}" for name in ("L1", "L2", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"))
_WITHOUT_ATTRIBUTES = (
    *("Abs", "Add", "And", "Ceil", "Clip", "Cos", "Div"),
    *("Equal", "Erf", "Exp", "Expand", "Floor", "GlobalAveragePool", "GlobalMaxPool"),
    *("Greater", "GreaterOrEqual", "HardSwish", "Identity", "Less", "LessOrEqual", "Log"),
    *("MatMul", "Max", "Min", "Mish", "Mul", "Neg", "NonZero"),
    *("Not", "Or", "PRelu", "Pow", "Range", "Reciprocal", "Relu"),
    *("Round", "Sigmoid", "Sign", "Sin", "Size", "Slice", "Softplus"),
    *("Softsign", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile"),
    *("Unsqueeze", "Where", "Xor"),
)

OPERATORS: dict[str, dict[str, Attribute]] = {
    **{name: {} for name in _WITHOUT_ATTRIBUTES},
    "ArgMax": _ARG,
    "ArgMin": _ARG,
    "AveragePool": {**_POOL, "count_include_pad": _FLAG, "dilations": _EXTENTS._replace(since=19)},
    "BatchNormalization": {"epsilon": _REAL, "momentum": _REAL, "training_mode": _OFF},
    "Cast": {"to": _KIND, "saturate": _integer(0, 1, since=19)},
    "Celu": {"alpha": _REAL},
    "Concat": {"axis": _AXIS},
    "Constant": {"value": _TENSOR},
    "ConstantOfShape": {"value": _TENSOR},
    "Conv": _CONV,
    "ConvTranspose": {**_CONV, "output_padding": _PADS},
    "DequantizeLinear": {"axis": _AXIS, "block_size": _integer(0, 0, since=21)},
    "Elu": {"alpha": _REAL},
    "Flatten": {"axis": _AXIS},
    "Gather": {"axis": _AXIS},
    "GatherElements": {"axis": _AXIS},
    "Gelu": {"approximate": _text("none", "tanh")._replace(since=20)},
    "Gemm": {"alpha": _REAL, "beta": _REAL, "transA": _FLAG, "transB": _FLAG},
    "HardSigmoid": {"alpha": _REAL, "beta": _REAL},
    "If": {"then_branch": _GRAPH, "else_branch": _GRAPH},
    "InstanceNormalization": {"epsilon": _REAL},
    "LayerNormalization": {"axis": _AXIS, "epsilon": _REAL, "stash_type": _integer(1, 1)},
    "LeakyRelu": {"alpha": _REAL},
    "LogSoftmax": {"axis": _AXIS},
    "LRN": {"alpha": _REAL, "beta": _REAL, "bias": _REAL, "size": _integer(1, 4096)},
    "MaxPool": {**_POOL, "dilations": _EXTENTS, "storage_order": _OFF},
    "Pad": {"mode": _text("constant", "reflect", "edge")},
    "QuantizeLinear": {
        "axis": _AXIS,
        "saturate": _integer(0, 1, since=19),
        "block_size": _integer(0, 0, since=21),
        "output_dtype": _integer(0, 3, since=21),
    },
    **dict.fromkeys(REDUCTIONS, _REDUCE),
    "Reshape": {"allowzero": _FLAG},
    "Resize": _RESIZE,
    "ScatterND": {"reduction": _text("none", "add")},
    "Selu": {"alpha": _REAL, "gamma": _REAL},
    "Shape": {"start": _integer(-_INT64, _INT64 - 1), "end": _integer(-_INT64, _INT64 - 1)},
    "Softmax": {"axis": _AXIS},
    "Split": {"axis": _AXIS, "num_outputs": _integer(1, 4096)},
    "ThresholdedRelu": {"alpha": _REAL},
    "Transpose": {"perm": _integers(0, MOST_AXES - 1)},
}
_SINCE = {"Gelu": 20}  # the first opset of operators younger than the oldest opset


def read_attributes(node: Message, opset: int) -> dict[str, Any]:
    """Return the attributes of a node by name; texts as ``str``, tensors and graphs as messages.

    Raises:
        ValueError: an operator or attribute that is not allowed in this opset, a value of another type or
            out of range.
    """
    operator = node.get("op_type", "")
    allowed = OPERATORS.get(operator)
    if allowed is None or opset < _SINCE.get(operator, 0):
        raise ValueError(f"expected an operator that eed-edge exports, got {operator!r:.60} in opset {opset}")
    values: dict[str, Any] = {}
    for message in node.get("attribute", ()):
        name = message.get("name", "")
        attribute = allowed.get(name)
        if attribute is None or opset < attribute.since or name in values:
            raise ValueError(f"expected the attributes of {operator} in opset {opset}, got {name!r:.60}")
        values[name] = _value(message, attribute, f"{operator}.{name}")
    return values


def _value(message: Message, attribute: Attribute, where: str) -> Any:
    others = message.keys() - {"name", "type", "doc_string", attribute.field}
    if message.get("type", 0) != attribute.kind or others:
        raise ValueError(f"expected {where} of type {attribute.kind} alone, got {message.get('type', 0)}")
    if attribute.field not in message and attribute.field != "ints":
        raise ValueError(f"expected a value of {where}, got none")
    value = message.get(attribute.field, [])
    if attribute.field == "s":
        value = str(value, "utf-8", "replace")
    elif attribute.field == "f":
        value = struct.unpack("<f", value)[0]
    elif attribute.field in ("i", "ints"):
        value = [signed(part) for part in value] if attribute.field == "ints" else signed(value)
    if not attribute.accepts(value):
        raise ValueError(f"expected {where}, {attribute.range}, got {value!r:.60}")
    return value


def signed(value: int) -> int:
    """Return a 64-bit varint as the signed number that it stands for."""
    return value - (1 << 64) if value >> 63 else value
