"""Serialise a parsed model with only the fields that were checked.

onnxruntime gets these bytes, not those of the file: a field that was not checked cannot reach it.
Documentation, the metadata of parts and declared shapes of intermediate tensors are left out.
"""

from collections.abc import Sequence
from typing import Any

from eed_edge.runtime.bundle.onnx_scan import Message
from eed_edge.runtime.bundle.onnx_schema import FIELDS, WIRE_TYPES, Field

WRITTEN: dict[str, tuple[str, ...]] = {
    "ModelProto": ("ir_version", "graph", "opset_import", "metadata_props"),
    "OperatorSetIdProto": ("domain", "version"),
    "StringStringEntryProto": ("key", "value"),
    "GraphProto": ("node", "name", "initializer", "input", "output"),
    "NodeProto": ("input", "output", "name", "op_type", "attribute"),
    "AttributeProto": ("name", "f", "i", "s", "t", "g", "floats", "ints", "type"),
    "TensorProto": (
        *("dims", "data_type", "name", "raw_data"),
        *("float_data", "int32_data", "int64_data", "double_data"),
    ),
    "ValueInfoProto": ("name", "type"),
    "TypeProto": ("tensor_type",),
    "TypeProto.Tensor": ("elem_type", "shape"),
    "TensorShapeProto": ("dim",),
    "TensorShapeProto.Dimension": ("dim_value", "dim_param"),
}
"""Fields that are judged and written, by message."""

Buffer = bytes | memoryview

_ORDERED: dict[str, list[tuple[str, int, Field]]] = {
    message: [(field.name, number, field) for number, field in FIELDS[message].items() if field.name in names]
    for message, names in WRITTEN.items()
}


def write_model(model: Message) -> bytes:
    """Return the bytes of a model that ``walk_model`` has accepted."""
    return b"".join(_message("ModelProto", model))


def _message(message: str, values: Message) -> list[Buffer]:
    parts: list[Buffer] = []
    for name, number, field in _ORDERED[message]:
        if name in values:
            value = values[name]
            if field.repeated and field.kind in WIRE_TYPES:
                parts += _field(number, _packed(field.kind, value))
            else:
                for entry in value if field.repeated else (value,):
                    parts += _entry(number, field.kind, entry)
    return parts


def _entry(number: int, kind: str, value: Any) -> list[Buffer]:
    if kind in FIELDS:
        return _field(number, _message(kind, value))
    if kind == "string":
        text = value.encode()
        return [_varint(number << 3 | 2) + _varint(len(text)) + text]
    wire_type = WIRE_TYPES.get(kind)
    if wire_type == 0:
        return [_varint(number << 3) + _varint(value)]
    if wire_type is None:
        return _field(number, [value])
    return [_varint(number << 3 | wire_type), value]


def _packed(kind: str, values: Sequence[Any]) -> list[Buffer]:
    return [_varint(value) for value in values] if WIRE_TYPES[kind] == 0 else list(values)


def _field(number: int, content: Sequence[Buffer]) -> list[Buffer]:
    return [_varint(number << 3 | 2) + _varint(sum(map(len, content))), *content]


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    head = bytearray()
    while value > 0x7F:
        head.append(value & 0x7F | 0x80)
        value >>= 7
    head.append(value)
    return bytes(head)
