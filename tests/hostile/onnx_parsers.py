"""What onnx's two protobuf parsers see in a file: Python's, and the one in C++ that onnxruntime also has."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import onnx
from google.protobuf.message import DecodeError, Message
from onnx.onnx_cpp2py_export import inliner


class View(NamedTuple):
    """What a parser saw that decides whether a model may be run."""

    operators: frozenset[tuple[str, str]]
    opsets: tuple[tuple[str, int], ...]
    initializers: tuple[str, ...]
    external: bool
    functions: int


def parse_in_python(raw: bytes) -> onnx.ModelProto | None:
    """None: a parse error."""
    try:
        return onnx.load_model_from_string(raw)
    except DecodeError:
        return None


def parse_in_cpp(raw: bytes) -> onnx.ModelProto | None:
    """Parsed and written again in C++, and the plain result read here; None: a parse error.

    The inliner does both; with its list of functions to inline empty, it changes nothing between.
    """
    return onnx.load_model_from_string(again) if (again := _in_cpp(_write_again, raw)) is not None else None


def cpp_checker_parses(raw: bytes) -> bool:
    """Whether ``onnx.checker.check_model`` gets past parsing; what it says of the model does not count."""
    return _in_cpp(_check, raw) is not None


def _in_cpp(call: Callable[[bytes], bytes], raw: bytes) -> bytes | None:
    try:
        return call(raw)
    except ValueError as error:
        if "Unable to parse proto" not in str(error):
            raise
        return None


def _write_again(raw: bytes) -> bytes:
    return inliner.inline_selected_functions(raw, [], False)


def _check(raw: bytes) -> bytes:
    with suppress(onnx.checker.ValidationError):
        onnx.checker.check_model(raw)
    return raw


def view(model: onnx.ModelProto) -> View:
    nodes, tensors = list(_all(model, onnx.NodeProto)), list(_all(model, onnx.TensorProto))
    return View(
        operators=frozenset((node.domain, node.op_type) for node in nodes),
        opsets=tuple((opset.domain, opset.version) for opset in model.opset_import),
        initializers=tuple(tensor.name for tensor in tensors),
        external=any(tensor.external_data or tensor.data_location for tensor in tensors),
        functions=len(model.functions),
    )


def _all(message: Message, kind: type) -> Iterator[Message]:
    """Every message of one kind inside another, however deep."""
    if isinstance(message, kind):
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from _all(inner, kind)
