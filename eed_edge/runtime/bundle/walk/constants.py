"""Tensors stored in a model: their type and size checked against their bytes, small ones read."""

import math
import struct
from typing import Any

from eed_edge.runtime.bundle.onnx_scan import Message
from eed_edge.runtime.bundle.walk.attributes import signed
from eed_edge.runtime.bundle.walk.sizes import (
    DOUBLE,
    FLOAT,
    INT32,
    INT64,
    ITEM_BYTES,
    MOST_AXES,
    MOST_VALUES,
    Size,
    Tensor,
)

_FIELDS = {FLOAT: "float_data", DOUBLE: "double_data", INT64: "int64_data"}
_CODES = {FLOAT: "f", DOUBLE: "d", INT32: "i", INT64: "q"}
_ALLOWED = {"dims", "data_type", "name", "doc_string", "raw_data", "data_location", "metadata_props"}


def read_tensor(message: Message) -> Tensor:
    """Return a stored tensor.

    Raises:
        ValueError: a type that is not allowed, or data of another length than its shape says.
    """
    name, kind = message.get("name", ""), message.get("data_type", 0)
    if kind not in ITEM_BYTES:
        raise ValueError(
            f"expected a type out of {', '.join(map(str, ITEM_BYTES))}, got {kind} for {name!r:.60}"
        )
    dims = [signed(size) for size in message.get("dims", ())]
    if len(dims) > MOST_AXES or min(dims, default=0) < 0:
        raise ValueError(
            f"expected up to {MOST_AXES} sizes of at least 0 for {name!r:.60}, got {str(dims)[:60]}"
        )
    field = "raw_data" if "raw_data" in message else _FIELDS.get(kind, "int32_data")
    if others := message.keys() - _ALLOWED - {field}:
        raise ValueError(f"expected the data of {name!r:.60} in {field} alone, got {min(others)} too")
    data, count = message.get(field, []), math.prod(dims)
    length = _length(data, field, kind)
    if length != count:
        raise ValueError(f"expected {count} elements of {name!r:.60}, got {length}")
    values = (
        _values(data, field, kind) if count <= MOST_VALUES and len(dims) <= 1 and kind in _CODES else None
    )
    return Tensor(
        kind,
        tuple(map(Size, dims)),
        values=None if values is None or kind in (FLOAT, DOUBLE) else tuple(Size(int(v)) for v in values),
        scales=tuple(values) if values is not None and kind == FLOAT else None,
        constant=True,
    )


def _length(data: Any, field: str, kind: int) -> float:
    """Return the number of elements in the data of a tensor."""
    if field == "raw_data":
        return len(data) / ITEM_BYTES[kind]
    return sum(len(part) for part in data) / ITEM_BYTES[kind] if kind in (FLOAT, DOUBLE) else len(data)


def _values(data: Any, field: str, kind: int) -> list[float]:
    if field in ("int32_data", "int64_data"):
        return [signed(value) for value in data]
    raw = bytes(data) if field == "raw_data" else b"".join(data)
    return list(struct.unpack(f"<{len(raw) // ITEM_BYTES[kind]}{_CODES[kind]}", raw))
