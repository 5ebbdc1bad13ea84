"""ONNX files that hide something from a reader which does not read protobuf as onnxruntime does.

Protobuf in C++ cuts tags to 32 bits and 32-bit numbers to 32 bits, takes padded numbers, lets the last of
two singular values win, and merges two singular messages.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from tests.runtime.tiny_onnx import field, graph, linear, model, node, tensor, value_info, varint

SECRET = "secret"  # the file that external data names, in the working directory
IMAGES, LOGITS = value_info("images", ("N", 3, 4, 4)), value_info("logits", ("N", 3, 4, 4))
SOUND = linear(np.eye(48, 3), np.zeros(3))


def padded(value: int, padding: int = 1) -> bytes:
    """A varint with more bytes than it needs."""
    shortest = varint(value)
    return shortest[:-1] + bytes([shortest[-1] | 0x80]) + b"\x80" * (padding - 1) + b"\0"


def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def hidden(number: int, value: "int | str | bytes") -> bytes:
    """A field whose tag has five bytes: another number to whoever keeps bit 32, the same to protobuf."""
    wire_type = 0 if isinstance(value, int) else 2
    return varint((number << 3 | wire_type) | 1 << 32) + field(number, value)[len(tag(number, wire_type)) :]


def with_graph(nodes: list[bytes], extra: bytes = b"") -> bytes:
    return graph(nodes, [], [IMAGES], [LOGITS]) + extra


def external(put) -> bytes:
    """A linear model whose weights are in the file ``secret``; ``put`` writes the fields that say so."""
    place = field(1, "location") + field(2, SECRET)
    weight = field(1, 48) + field(1, 3) + field(2, 1) + field(8, "w") + put(13, place) + put(14, 1)
    nodes = [node("Flatten", ["images"], ["x"]), node("Gemm", ["x", "w", "b"], ["logits"])]
    tensors = [weight, tensor("b", np.zeros(3, np.float32))]
    return model(graph(nodes, tensors, [IMAGES], [value_info("logits", ("N", 3))]))


def loop() -> bytes:
    """A node that adds an image to itself ``count`` times."""
    body = graph(
        [node("Identity", ["go"], ["on"]), node("Add", ["v", "v"], ["w"])],
        [],
        [value_info("i", (), 7), value_info("go", (), 9), value_info("v", ("N", 3, 4, 4))],
        [value_info("on", (), 9), value_info("w", ("N", 3, 4, 4))],
    )
    attribute = field(5, field(1, "body") + field(6, body) + field(20, 5))
    return node("Loop", ["count", "", "x"], ["logits"], attributes=attribute)


COUNT = field(5, field(2, 7) + field(8, "count") + field(7, 3))
RELU = node("Relu", ["images"], ["x"])
DECOY = node("Relu", ["images"], ["logits"])
FUNCTION = field(1, "Evil") + field(4, "a") + field(5, "b") + field(7, node("Neg", ["a"], ["b"]))
FUNCTION += field(9, field(2, 18)) + field(10, "evil")

# Each is accepted by onnxruntime, which sees what the name says.
FIVE_BYTE_TAGS = {
    "external data": external(hidden),
    "a loop": model(with_graph([RELU], COUNT + hidden(1, loop()))),
    "a local function": model(
        with_graph([RELU], hidden(1, node("Evil", ["x"], ["logits"], domain="evil"))),
        extra=field(8, field(1, "evil") + field(2, 1)) + hidden(25, FUNCTION),
    ),
    "a custom operator": model(
        with_graph([RELU, node("Gelu", ["x"], ["logits"], attributes=hidden(7, "com.microsoft"))]),
        extra=field(8, field(1, "com.microsoft") + field(2, 1)),
    ),
    "a second graph": model(with_graph([RELU]), extra=hidden(7, COUNT + field(1, loop()))),
}


@dataclass(frozen=True)
class Hostile:
    """A file, what the check says of it, and whether onnx's two parsers, Python's and C++'s, take it."""

    raw: bytes
    message: str
    python: bool
    cpp: bool


def in_model(extra: bytes) -> bytes:
    return SOUND + extra


def in_node(extra: bytes) -> bytes:
    return model(with_graph([DECOY + extra]))


def in_tensor(extra: bytes) -> bytes:
    return model(with_graph([DECOY], field(5, tensor("w", np.zeros(1, np.float32)) + extra)))


def in_type(extra: bytes) -> bytes:
    return model(with_graph([DECOY], field(13, field(1, "x") + field(2, extra))))


BOTH, CPP, NEITHER = (True, True), (False, True), (False, False)
GRAPH = with_graph([DECOY])
OTHER_ENCODINGS = {
    "over-long tag": (in_model(padded(2 << 3 | 2) + b"\x01a"), "number longer than its shortest", BOTH),
    "over-long tag of five bytes": (
        in_model(padded(2 << 3 | 2, 4) + b"\x01a"),
        "number longer than its shortest",
        BOTH,
    ),
    "over-long length": (
        field(1, 9) + tag(7, 2) + padded(len(GRAPH)) + GRAPH + field(8, field(2, 18)),
        "number longer than its shortest",
        BOTH,
    ),
    "over-long number": (in_model(tag(5, 0) + padded(5)), "number longer than its shortest", BOTH),
    "number of 65 bits": (in_model(tag(5, 0) + b"\xff" * 9 + b"\x03"), "more than 64 bits", BOTH),
    "endless number": (in_model(tag(5, 0) + b"\xff" * 12), "more than 64 bits", NEITHER),
    "length beyond 2 GiB": (in_model(tag(2, 2) + varint(1 << 31)), "2147483648 bytes where 0 are", NEITHER),
    "length beyond 32 bits": (
        in_model(tag(2, 2) + varint(1 << 32 | 1) + b"a"),
        "4294967297 bytes where 1 are left",
        NEITHER,
    ),
    "unknown number": (in_model(field(99, 1)), "the unknown field 99 of ModelProto", BOTH),
    "unknown bytes": (in_node(field(99, "a")), "the unknown field 99 of NodeProto", BOTH),
    "unknown fixed number": (in_tensor(tag(99, 5) + b"1234"), "the unknown field 99 of TensorProto", BOTH),
    "largest field number": (in_model(field((1 << 29) - 1, 1)), "the unknown field 536870911", BOTH),
    "field number of 30 bits": (in_model(varint(1 << 32) + b"\0"), "a tag of more than 32 bits", CPP),
    "field 0": (in_model(b"\0\0"), "the unknown field 0 of ModelProto", CPP),
    "group": (in_model(tag(99, 3) + tag(99, 4)), "the unknown field 99 of ModelProto", BOTH),
    "group of a known field": (in_model(tag(7, 3) + tag(7, 4)), "wire type 3 for ModelProto.graph", BOTH),
    "wire type 6": (in_model(tag(2, 6) + b"\0"), "wire type 6 for ModelProto.producer_name", NEITHER),
    "number for a text": (in_node(field(3, 1)), "wire type 0 for NodeProto.name", BOTH),
    "bytes for a number": (in_model(field(5, "a")), "wire type 2 for ModelProto.model_version", BOTH),
    "fixed number for a number": (in_model(tag(5, 1) + bytes(8)), "wire type 1 for ModelProto.model", BOTH),
    "second operator": (in_node(field(4, "Loop")), "a second NodeProto.op_type", BOTH),
    "second domain": (in_node(field(7, "") + field(7, "evil")), "a second NodeProto.domain", BOTH),
    "second graph": (in_model(field(7, field(1, loop()))), "a second ModelProto.graph", BOTH),
    "second kind of type": (in_type(field(1, field(1, 1)) + field(4, b"")), "a second TypeProto.value", BOTH),
    "data_location beyond 32 bits": (
        in_tensor(field(14, 1 << 32 | 1)),
        "4294967297 out of range for TensorProto.data_location",
        BOTH,
    ),
    "data_location that ONNX has not": (in_tensor(field(14, 2)), "2 out of range for Tensor", BOTH),
    "attribute type that ONNX has not": (
        in_node(field(5, field(1, "a") + field(20, 15))),
        "15 out of range for AttributeProto.type",
        BOTH,
    ),
    "element type beyond 32 bits": (
        in_type(field(1, field(1, 1 << 32 | 1))),
        "4294967297 out of range for TypeProto.Tensor.elem_type",
        BOTH,
    ),
    "packed number beyond 32 bits": (
        in_tensor(field(5, varint(1 << 31))),
        "2147483648 out of range for TensorProto.int32_data",
        BOTH,
    ),
    "packed number cut short": (in_tensor(field(7, b"\x80")), "an unfinished number", NEITHER),
    "packed number over-long": (in_tensor(field(7, padded(1))), "number longer than its shortest", BOTH),
    "packed floats cut short": (in_tensor(field(4, b"123")), "3 bytes of packed", NEITHER),
    "text that is not UTF-8": (in_node(field(3, b"\xff")), "NodeProto.name that is not UTF-8", BOTH),
    "two standard opsets": (
        in_model(field(8, field(2, 19))),
        "expected one opset of the standard domain, got two",
        BOTH,
    ),
    "opset beyond 32 bits": (
        model(GRAPH, opset=1 << 32 | 18),
        "expected an opset of 1 or more in 31 bits, got 4294967314",
        BOTH,
    ),
    "configuration of devices": (in_model(field(26, field(1, "a"))), "configuration of several", BOTH),
    "sharding": (in_node(field(10, field(1, "a"))), "configuration of several devices", BOTH),
}

HOSTILE = {
    **{
        f"{name} behind a five-byte tag": Hostile(raw, "a tag of more than 32 bits", *CPP)
        for name, raw in FIVE_BYTE_TAGS.items()
    },
    **{name: Hostile(raw, message, *takes) for name, (raw, message, takes) in OTHER_ENCODINGS.items()},
}


def ort_file(raw: bytes, folder: Path) -> bytes:
    """The same model in onnxruntime's own format."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "model.ort")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    return (folder / "model.ort").read_bytes()


def polyglot(sound_node: bytes, ort_model: bytes) -> bytes:
    """An ONNX model with one node that onnxruntime, left to guess, takes for a model in its own format.

    That format is a flatbuffer: the position of its root table in bytes 0-3, its name ``ORTM`` in bytes 4-7.
    Here bytes 0-3 are the model version 8 and the head of a producer name of four bytes, so that the root is
    expected at 0x04120828 = 68.3 MB; there is a copy of it in an initializer that no node reads, and behind
    it the whole flatbuffer, whose other parts point to each other by distance.
    """
    start = tag(5, 0) + b"\x08" + tag(2, 2) + b"\x04"
    root, gap = int.from_bytes(start, "little"), 40  # 40 keeps the flatbuffer aligned to 16 bytes
    data = _moved_root(ort_model, gap) + ort_model

    def build(padding: int) -> bytes:
        ballast = field(1, padding + len(data)) + field(2, 3) + field(8, "unused")
        ballast += field(9, bytes(padding) + data)
        return start + b"ORTM" + model(with_graph([sound_node], field(5, ballast)))

    padding = root - 1000
    return build(padding + root - build(padding).rindex(data))


def _moved_root(flatbuffer: bytes, gap: int) -> bytes:
    """A copy of the root table for ``gap`` bytes before the flatbuffer; its fields are all distances."""
    root = int.from_bytes(flatbuffer[:4], "little")
    moved_by = gap + root
    vtable = root - int.from_bytes(flatbuffer[root : root + 4], "little", signed=True)
    vtable_size, size, *fields = struct.unpack_from(f"<{flatbuffer[vtable] // 2}H", flatbuffer, vtable)
    assert vtable_size == flatbuffer[vtable]
    assert size <= gap
    table = bytearray(flatbuffer[root : root + size].ljust(gap, b"\0"))
    struct.pack_into("<i", table, 0, root - vtable - moved_by)
    for at in filter(None, fields):
        struct.pack_into("<I", table, at, struct.unpack_from("<I", table, at)[0] + moved_by)
    return bytes(table)
