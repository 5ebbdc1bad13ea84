"""A protobuf message taken apart into its fields, changed at one of them, and put together again.

It reads and writes protobuf by itself; onnx's descriptors say which fields are messages.
"""

from dataclasses import dataclass, field

from tests.hostile.onnx_files import padded
from tests.runtime.tiny_onnx import varint


@dataclass
class Part:
    """One field; ``content`` is a number, bytes or the fields inside."""

    number: int
    wire_type: int
    content: "int | bytes | list[Part]"
    high_tag: bool = False
    padding: dict[str, int] = field(default_factory=dict)  # of "tag", "length" or "number"
    before: bytes = b""
    copies: int = 1


def take_apart(data, descriptor):
    parts, at = [], 0
    while at < len(data):
        key, at = _read(data, at)
        number, wire_type = key >> 3, key & 7
        known = descriptor.fields_by_number[number]
        if wire_type == 0:
            content, at = _read(data, at)
        else:
            length, at = _read(data, at) if wire_type == 2 else ({1: 8, 5: 4}[wire_type], at)
            content, at = data[at : at + length], at + length
            if known.message_type is not None:
                content = take_apart(content, known.message_type)
        parts.append(Part(number, wire_type, content))
    return parts


def flat(parts):
    """All fields, outer ones before those inside."""
    for part in parts:
        yield part
        if isinstance(part.content, list):
            yield from flat(part.content)


def put_together(parts):
    return b"".join(part.before + _write(part) * part.copies for part in parts)


def _write(part):
    key = (part.number << 3 | part.wire_type) | (1 << 32 if part.high_tag else 0)
    head = _number(key, part.padding.get("tag", 0))
    if isinstance(part.content, int):
        return head + _number(part.content, part.padding.get("number", 0))
    content = put_together(part.content) if isinstance(part.content, list) else part.content
    if part.wire_type == 2:
        head += _number(len(content), part.padding.get("length", 0))
    return head + content


def _number(value, padding):
    return padded(value, padding) if padding else varint(value)


def _read(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at
