"""Turn plain JSON or TOML values into frozen dataclasses, refusing whatever does not fit.

The dataclass is the schema: field names are the keys, all needed but those with the metadata
``optional`` (a class with ``DEFAULTS`` needs none); annotations are the types; ``__post_init__``
checks ranges by raising ``ValueError``.
"""

import dataclasses
import math
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from eed_edge.suggestions import did_you_mean

T = TypeVar("T")


def read_typed(kind: type[T], value: object, where: str) -> T:
    """Return ``value`` as an instance of ``kind``.

    Args:
        kind: a dataclass, ``str``, ``int``, ``float``, ``bool``, ``X | None``, ``Literal``,
            ``tuple`` or ``dict[str, X]`` of these.
        where: what to call the value in a message, such as ``manifest.json: gate``.

    Raises:
        ValueError: a key is unknown or missing, or a value has another type or is not finite;
            the text says where, what was expected and what came.
    """
    result: T = _read(kind, value, where)
    return result


def to_plain(value: Any) -> Any:
    """Return dataclasses, also within others, as dicts, without their ``optional`` fields that are None."""
    if dataclasses.is_dataclass(value):
        entries = {one: getattr(value, one.name) for one in dataclasses.fields(value)}
        return {
            one.name: to_plain(entry)
            for one, entry in entries.items()
            if entry is not None or not one.metadata.get("optional")
        }
    if isinstance(value, dict):
        return {key: to_plain(entry) for key, entry in value.items()}
    return [to_plain(entry) for entry in value] if isinstance(value, tuple) else value


def _read(kind: Any, value: object, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        return _read_union(arguments, value, where)
    if origin is Literal:
        return _read_literal(arguments, value, where)
    if origin is tuple:
        return _read_tuple(arguments, value, where)
    if origin is dict:
        entries = _expect(value, dict, "an object", where)
        return {key: _read(arguments[1], entry, f"{where}.{key:.60}") for key, entry in entries.items()}
    return _read_scalar(kind, value, where)


def _read_dataclass(kind: Any, value: object, where: str) -> Any:
    entries = _expect(value, dict, "an object", where)
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(entries.keys() - fields.keys()):
        expected = did_you_mean(unknown[0][:80], fields) or f", expected {', '.join(fields)}"
        raise ValueError(f"{where}: unknown key {unknown[0]!r:.80}{expected}")
    values = {}
    for name, field in fields.items():
        if name in entries:
            values[name] = _read(hints[name], entries[name], f"{where}.{name}")
        elif not (field.metadata.get("optional") or getattr(kind, "DEFAULTS", False)):
            raise ValueError(f"{where}: key {name!r} is missing")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _read_union(kinds: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    errors = []
    for kind in kinds:
        if kind is not type(None):
            try:
                return _read(kind, value, where)
            except ValueError as error:
                errors.append(error)
    raise errors[0]


def _read_literal(allowed: tuple[Any, ...], value: object, where: str) -> Any:
    for choice in allowed:
        if type(value) is type(choice) and value == choice:
            return choice
    raise ValueError(f"{where}: expected {' or '.join(map(repr, allowed))}, got {value!r:.60}")


def _read_tuple(kinds: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    entries = _expect(value, list, "a list", where)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(entries)
    if len(entries) != len(kinds):
        raise ValueError(f"{where}: expected {len(kinds)} entries, got {len(entries)}")
    return tuple(
        _read(kind, entry, f"{where}[{i}]")
        for i, (kind, entry) in enumerate(zip(kinds, entries, strict=True))
    )


def _read_scalar(kind: Any, value: object, where: str) -> Any:
    if kind is float and type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
    if type(value) is not kind:
        raise ValueError(f"{where}: expected {_NAMES[kind]}, got {value!r:.60}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}: expected a finite number, got {value}")
    return value


_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _expect(value: object, kind: type[T], name: str, where: str) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"{where}: expected {name}, got {value!r:.60}")
    return value
