"""Tiny ONNX models written byte by byte: the tests need no onnx package, and the reader an independent truth.

A field is its key (number << 3 | wire type), then a varint, or a length and bytes; numbers from onnx.proto.
"""

import numpy as np


def varint(value):
    head = b""
    while value > 0x7F:
        head += bytes([value & 0x7F | 0x80])
        value >>= 7
    return head + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name, array, extra=b""):
    kind = {"float32": 1, "int64": 7}[str(array.dtype)]
    sizes = b"".join(field(1, size) for size in array.shape)
    return sizes + field(2, kind) + field(8, name) + field(9, array.tobytes()) + extra


def value_info(name, shape, kind=1):
    sizes = b"".join(field(1, field(2, s) if isinstance(s, str) else field(1, s)) for s in shape)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, sizes)))


def node(op_type, inputs, outputs, *, domain="", attributes=b""):
    names = b"".join(field(1, name) for name in inputs) + b"".join(field(2, name) for name in outputs)
    return names + field(4, op_type) + attributes + (field(7, domain) if domain else b"")


def graph(nodes, tensors, inputs, outputs):
    parts = [(1, nodes), (5, tensors), (11, inputs), (12, outputs)]
    return field(2, "g") + b"".join(field(number, value) for number, values in parts for value in values)


def model(graph_bytes, *, opset=18, extra=b""):
    return field(1, 9) + field(7, graph_bytes) + field(8, field(2, opset)) + extra


def linear(weight, bias, *, size=(3, 4, 4), last=(), more=()):
    """``logits = flatten(images) @ weight + bias``, or what ``last`` makes of ``y`` with ``more`` tensors."""
    classes = weight.shape[1]
    nodes = [node("Flatten", ["images"], ["x"]), node("Gemm", ["x", "w", "b"], ["y"])]
    nodes += list(last) or [node("Identity", ["y"], ["logits"])]
    tensors = [tensor("w", weight.astype(np.float32)), tensor("b", bias.astype(np.float32))]
    tensors += [tensor("never", np.array([7, classes])), *more]
    inputs, outputs = [value_info("images", ("N", *size))], [value_info("logits", ("N", classes))]
    return model(graph(nodes, tensors, inputs, outputs))


NAN_AT_0 = [node("Div", ["y", "y"], ["one"]), node("Mul", ["y", "one"], ["logits"])]
INFINITE_AT_0 = [node("Reciprocal", ["y"], ["logits"])]
MINUS_INFINITE_AT_0 = [node("Log", ["y"], ["logits"])]
FAILS_UNLESS_SEVEN_IMAGES = [node("Reshape", ["y", "never"], ["logits"])]
