"""A bounded walk over the bytes of an ONNX file, for devices that have no onnx package.

It reads just enough protobuf to refuse what a bundle must not bring: tensors in other files, operators
that standard onnxruntime does not have, loops, and nesting without end.

Source:
    onnx.proto (field numbers) and the protobuf encoding guide (wire types).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from eed_edge.errors import BundleError

DEEPEST = 64  # messages within messages; an ensemble of 12 nested If stages needs 39
STANDARD_DOMAINS = ("", "ai.onnx")
LOOPS = ("Loop", "Scan")

# Message -> field number -> what it holds: another message, or a value to look at.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {4: "op_type", 5: "attribute", 7: "domain"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external", 14: "location"},
    "opset": {1: "domain", 2: "version"},
}


@dataclass(frozen=True)
class Model:
    """What the walk saw: the opset of the standard domain and every operator used."""

    opset: int
    operators: frozenset[str]


def inspect(model: bytes, name: str) -> Model:
    """Walk a model and refuse what must not be in a bundle.

    Args:
        name: what messages call the model, such as its file name.

    Raises:
        BundleError: not an ONNX model, cut short, or with external data, a custom operator or
            function, a loop, training information or absurd nesting.
    """
    walker = _Walker()
    try:
        walker.walk("model", memoryview(model), 0)
        if walker.opset is None or not walker.operators:
            raise ValueError("it has no operators or no opset, it is not an ONNX model")
    except ValueError as error:
        raise BundleError(f"{name}: {error}; export the bundle again with eed-edge") from error
    return Model(walker.opset, frozenset(walker.operators))


class _Walker:
    def __init__(self) -> None:
        self.opset: int | None = None
        self.operators: set[str] = set()

    def walk(self, message: str, data: memoryview, depth: int) -> None:
        """Look at one message; raises ``ValueError`` at the first thing refused."""
        if depth > DEEPEST:
            raise ValueError(f"expected messages nested at most {DEEPEST} deep, got more")
        known = _FIELDS[message]
        texts = {"op_type": "", "domain": ""}
        version = 0
        for number, value in _fields(data):
            kind = known.get(number)
            if kind is None:
                continue
            if kind in ("external", "training", "function") or (kind == "location" and value != 0):
                raise ValueError(f"expected a model complete in itself, got {_REFUSED[kind]}")
            if kind in _FIELDS:
                self.walk(kind, _bytes(value), depth + 1)
            elif kind in texts:
                texts[kind] = str(_bytes(value), "utf-8")
            elif kind == "version":
                version = _integer(value)
        if message == "node":
            self._judge_node(texts["op_type"], texts["domain"])
        elif message == "opset" and texts["domain"] in STANDARD_DOMAINS:
            self.opset = version

    def _judge_node(self, op_type: str, domain: str) -> None:
        if domain not in STANDARD_DOMAINS:
            raise ValueError(f"expected standard operators, got {op_type!r:.60} of the domain {domain!r:.60}")
        if op_type in LOOPS:
            raise ValueError(f"expected bounded work, got the operator {op_type}")
        self.operators.add(op_type)


_REFUSED = {
    "external": "a tensor stored in another file",
    "location": "a tensor stored in another file",
    "training": "training information",
    "function": "a function of its own",
}


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of one message in order: number, and an integer or the bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire_type == 2:
            length, at = _varint(data, at)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"it is not an ONNX model: wire type {wire_type} at byte {at}")
        if length > len(data) - at:
            raise ValueError(
                f"it is cut short or not an ONNX model: {length} bytes at byte {at} of {len(data)}"
            )
        yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it is cut short or not an ONNX model: it ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"it is not an ONNX model: a number of more than 10 bytes at byte {at}")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("it is not an ONNX model: a number where a message was expected")
    return value


def _integer(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ValueError("it is not an ONNX model: a message where a number was expected")
    return value
