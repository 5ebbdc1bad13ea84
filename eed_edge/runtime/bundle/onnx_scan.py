"""A bounded parser of the bytes of an ONNX file, for devices that have no onnx package.

It rejects what a bundle must not contain: tensors in other files, operators that standard onnxruntime lacks,
loops, and unbounded nesting. To make sure that every reader sees the same model in the same bytes, it accepts
only what all protobuf readers parse alike: known fields, singular ones once, and varints in their shortest
form and in range.

Source:
    onnx.proto (``onnx_schema``) and the protobuf encoding guide (wire types).
"""

from dataclasses import dataclass
from typing import Any

from eed_edge.errors import BundleError
from eed_edge.runtime.bundle.limits import DEFAULT_LIMITS, Limits
from eed_edge.runtime.bundle.onnx_schema import (
    ENUMS,
    FIELDS,
    REFUSED,
    WIRE_TYPES,
    Field,
)

MAX_DEPTH = 64  # messages within messages; an ensemble of 12 nested If stages needs 42
MAX_TEXT = 4 * 2**20  # bytes of all names and other texts in a file
STANDARD_DOMAINS = ("", "ai.onnx")
LOOPS = ("Loop", "Scan")

Message = dict[str, Any]
"""A parsed message: its fields by name, repeated ones as lists. Messages are dicts, strings ``str``, integers
``int``; bytes and floating-point numbers are views of the file, packed floating-point numbers one view."""


@dataclass(frozen=True)
class Model:
    """A parsed model: opset of the standard domain, operators in use, the whole message, how many fields."""

    opset: int
    operators: frozenset[str]
    message: Message
    values: int


def inspect(model: bytes, name: str, *, limits: Limits = DEFAULT_LIMITS) -> Model:
    """Parse a model and reject what must not be in a bundle.

    Args:
        name: the model's name in error messages, such as its file name.
        limits: how many values and nodes it may have.

    Raises:
        BundleError: not an ONNX model, cut short, encoded so that readers may disagree, or with external
            data, a custom operator or function, a loop, training information or absurd nesting.
    """
    scanner = _Scanner(model, limits)
    try:
        if len(model) >= 1 << 31:
            raise ValueError(f"expected less than 2 GiB, protobuf's limit, got {len(model)} bytes")
        message = scanner.scan("ModelProto", 0, len(model), 0)
        if scanner.opset is None or not scanner.operators:
            raise ValueError("expected an ONNX model, got no operators or no opset")
    except ValueError as error:
        raise BundleError(f"{name}: {error}; export the bundle again with eed-edge") from error
    return Model(scanner.opset, frozenset(scanner.operators), message, scanner.values)


class _Scanner:
    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.view = memoryview(data)
        self.limits = limits
        self.values = 0
        self.nodes = 0
        self.text = 0
        self.opset: int | None = None
        self.operators: set[str] = set()

    def scan(self, message: str, at: int, end: int, depth: int) -> Message:
        """Parse the message in ``data[at:end]``; raise ``ValueError`` at the first violation."""
        if depth > MAX_DEPTH:
            raise ValueError(f"expected messages nested at most {MAX_DEPTH} deep, got more")
        parsed: Message = {}
        oneofs: set[str] = set()
        while at < end:
            start = at
            self._count()
            tag, at = self._varint(at, end)
            field = _field(message, tag, start)
            if (not field.repeated and field.name in parsed) or field.oneof in oneofs:
                raise _malformed(f"a second {message}.{field.oneof or field.name}", start)
            if field.oneof:
                oneofs.add(field.oneof)
            value: Any
            if tag & 7 == 0:
                value, at = self._number(message, field, at, end)
            else:
                begin, at = self._extent(message, field, tag & 7, at, end)
                value = self._content(message, field, begin, at, depth)
            if not field.repeated:
                parsed[field.name] = value
            elif isinstance(value, list):  # packed numbers
                parsed.setdefault(field.name, []).extend(value)
            else:
                parsed.setdefault(field.name, []).append(value)
        if message == "NodeProto":
            self._check_node(parsed.get("op_type", ""), parsed.get("domain", ""))
        elif message == "OperatorSetIdProto":
            self._check_opset(parsed.get("domain", ""), parsed.get("version", 0))
        return parsed

    def _extent(self, message: str, field: Field, wire_type: int, at: int, end: int) -> tuple[int, int]:
        """Return the start and end of the content of a field that is not a varint."""
        length = {1: 8, 5: 4}.get(wire_type)
        if length is None:
            length, at = self._varint(at, end)
        if length > end - at:
            raise _malformed(
                f"{message}.{field.name} cut short, {length} bytes where {end - at} are left,", at
            )
        return at, at + length

    def _content(self, message: str, field: Field, at: int, end: int, depth: int) -> Any:
        """Parse ``data[at:end]``, the content of a field that is not a varint."""
        if field.kind in FIELDS:
            return self.scan(field.kind, at, end, depth + 1)
        if field.kind == "string":
            self.text += end - at
            if self.text > MAX_TEXT:
                raise ValueError(f"expected at most {MAX_TEXT:,} bytes of names and texts, got more")
            try:
                return str(self.data[at:end], "utf-8")
            except UnicodeDecodeError as error:
                raise _malformed(f"{message}.{field.name} that is not UTF-8", at) from error
        if WIRE_TYPES.get(field.kind) == 0:
            numbers = []
            while at < end:
                self._count()
                number, at = self._number(message, field, at, end)
                numbers.append(number)
            return numbers
        if (end - at) % {"float": 4, "double": 8}.get(field.kind, 1):
            raise _malformed(f"{end - at} bytes of packed {message}.{field.name}", at)
        return self.view[at:end]

    def _number(self, message: str, field: Field, at: int, end: int) -> tuple[int, int]:
        """Read a varint in its field's range; return it and its end. Negative numbers are 64-bit."""
        value, after = self._varint(at, end)
        if field.kind == "DataLocation" and value == 1:
            raise ValueError(f"expected a self-contained model, got {REFUSED['TensorProto', 13]}")
        if (field.kind == "int32" and 1 << 31 <= value < (1 << 64) - (1 << 31)) or (
            field.kind in ENUMS and value not in ENUMS[field.kind]
        ):
            raise _malformed(f"{value} out of range for {message}.{field.name}", at)
        return value, after

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """Read an unsigned varint of up to 64 bits in its shortest form; return it and its end."""
        if at < end and self.data[at] < 0x80:  # the common case
            return self.data[at], at + 1
        value = 0
        for after in range(at, min(at + 10, end)):
            byte = self.data[after]
            value |= (byte & 0x7F) << 7 * (after - at)
            if byte < 0x80:
                if value >> 64:
                    break
                if byte == 0 and after > at:
                    raise _malformed("a number longer than its shortest form", at)
                return value, after + 1
        raise _malformed("a number of more than 64 bits" if end - at >= 10 else "an unfinished number", at)

    def _count(self) -> None:
        self.values += 1
        if self.values > self.limits.values:
            raise ValueError(f"expected at most {self.limits.values:,} fields and packed numbers, got more")

    def _check_node(self, op_type: str, domain: str) -> None:
        if domain not in STANDARD_DOMAINS:
            raise ValueError(f"expected standard operators, got {op_type!r:.60} of the domain {domain!r:.60}")
        if op_type in LOOPS:
            raise ValueError(f"expected bounded work, got the operator {op_type}")
        self.operators.add(op_type)
        self.nodes += 1
        if self.nodes > self.limits.nodes:
            raise ValueError(f"expected at most {self.limits.nodes:,} nodes, got more")

    def _check_opset(self, domain: str, version: int) -> None:
        if domain not in STANDARD_DOMAINS:
            return
        if self.opset is not None:
            raise ValueError(
                f"expected one opset of the standard domain, got two: {self.opset} and {version}"
            )
        if not 0 < version < 1 << 31:
            raise ValueError(f"expected an opset of 1 or more in 31 bits, got {version}")
        self.opset = version


def _field(message: str, tag: int, at: int) -> Field:
    """Return the field of a tag; reject tags that readers may interpret differently."""
    number, wire_type = tag >> 3, tag & 7
    if tag >> 32:
        raise _malformed("a tag of more than 32 bits", at)
    if what := REFUSED.get((message, number)):
        raise ValueError(f"expected a self-contained model, got {what}")
    field = FIELDS[message].get(number)
    if field is None:
        raise _malformed(f"the unknown field {number} of {message}", at)
    packed = field.repeated and field.kind in WIRE_TYPES and wire_type == 2
    if wire_type != WIRE_TYPES.get(field.kind, 2) and not packed:
        raise _malformed(f"wire type {wire_type} for {message}.{field.name}", at)
    return field


def _malformed(what: str, at: int) -> ValueError:
    return ValueError(f"expected a plain ONNX model, got {what} at byte {at}")
