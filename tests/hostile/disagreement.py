"""What the walk accepts and onnx's parsers, in Python and C++, refuse or read otherwise."""

from collections.abc import Iterator

from eed_edge.errors import BundleError
from eed_edge.runtime.bundle.onnx_scan import STANDARD_DOMAINS, Message, inspect
from eed_edge.runtime.bundle.onnx_schema import FIELDS
from tests.hostile.onnx_parsers import cpp_checker_parses, parse_in_cpp, parse_in_python, view


def disagreement(raw: bytes) -> str | None:
    """In words; None if all see the same model, or ours refuses it."""
    try:
        model = inspect(raw, "a")
    except BundleError:
        return None
    python, cpp = parse_in_python(raw), parse_in_cpp(raw)
    if python is None or cpp is None or not cpp_checker_parses(raw):
        return "a parse error"
    if python.SerializeToString(deterministic=True) != cpp.SerializeToString(deterministic=True):
        return "two models"
    seen = view(cpp)
    if view(python) != seen or seen.external or seen.functions:
        return "another view"
    if {domain for domain, _ in seen.operators} - set(STANDARD_DOMAINS):
        return "a custom operator"
    if model.operators != {name for _, name in seen.operators}:
        return "other operators"
    names = [tensor.get("name", "") for tensor in _tensors("ModelProto", model.message)]
    if sorted(names) != sorted(seen.initializers):
        return "other initializers"
    opsets = [version for domain, version in seen.opsets if domain in STANDARD_DOMAINS]
    return None if opsets == [model.opset] else "another opset"


def _tensors(kind: str, message: Message) -> Iterator[Message]:
    """Every tensor that the walk read, however deep."""
    if kind == "TensorProto":
        yield message
    for field in FIELDS[kind].values():
        if field.kind in FIELDS and field.name in message:
            for inner in message[field.name] if field.repeated else [message[field.name]]:
                yield from _tensors(field.kind, inner)
