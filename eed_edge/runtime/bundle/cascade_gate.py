"""Compare what is inside ``cascade.onnx`` with the bundle: manifest, constants of the gate, sub-models."""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from eed_edge.errors import BundleError
from eed_edge.gate_rules.gate_rule import GateRule
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.manifest import CASCADE_FILE, Manifest
from eed_edge.runtime.bundle.folder import Bundle
from eed_edge.runtime.bundle.limits import DEFAULT_LIMITS, Limits
from eed_edge.runtime.bundle.onnx_scan import Message, inspect
from eed_edge.runtime.bundle.walk.sizes import DOUBLE, INT64

_COMPARED = ("classes", "input", "precision", "submodels", "gate", "temperatures", "abstain")


def check_same_gate(
    model: bytes, inside: Manifest, bundle: Bundle, *, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Check that a ``cascade.onnx`` has the sub-models of the bundle and decides as its manifest says.

    Args:
        model: its bytes.
        inside: the manifest in its metadata.

    Raises:
        BundleError: other classes, preprocessing, sub-models or gate, or other constants or nodes of these in
            its graph.
    """
    manifest = bundle.manifest
    for name in _COMPARED:
        if getattr(inside, name) != getattr(manifest, name):
            raise BundleError(
                f"{CASCADE_FILE}: expected the {name} of the manifest, got others inside;"
                " export the bundle again"
            )
    parsed = inspect(model, CASCADE_FILE, limits=limits).message
    actual = Counter(_gate_constants(parsed, GATE_RULES[manifest.gate.rule]))
    if actual != (expected := _expected(manifest)):
        raise BundleError(
            f"{CASCADE_FILE}: expected the gate's constants {_listed(expected)}, got {_listed(actual)};"
            " export the bundle again"
        )
    graphs = list(_graphs(parsed["graph"]))
    for t, entry in enumerate(manifest.submodels[: manifest.gate.max_submodels]):
        member = inspect(bundle.read(entry.file), entry.file, limits=limits).message["graph"]
        if _parts([member], "") != _parts(graphs, f"m{t}/"):
            raise BundleError(
                f"{CASCADE_FILE}: expected the nodes and weights of {entry.file} under the names m{t}/…,"
                " got others; export the bundle again"
            )


def _parts(graphs: Iterable[Message], prefix: str) -> tuple[dict[str, Any], list[Any]]:
    """Return the stored tensors by name, and operators, outputs and attributes of the nodes, unprefixed."""
    tensors, nodes = {}, []
    for graph in graphs:
        for tensor in graph.get("initializer", ()):
            if (name := tensor.get("name", "")).startswith(prefix):
                content = {key: value for key, value in tensor.items() if key not in ("name", "doc_string")}
                tensors[name.removeprefix(prefix)] = content
        for node in graph.get("node", ()):
            outputs = node.get("output", [])
            if all(name.startswith(prefix) for name in outputs):
                attributes = sorted(node.get("attribute", ()), key=lambda one: str(one.get("name", "")))
                plain = [{key: one[key] for key in one.keys() - {"doc_string"}} for one in attributes]
                nodes.append((node["op_type"], [name.removeprefix(prefix) for name in outputs], plain))
    return tensors, nodes


def _expected(manifest: Manifest) -> Counter[float]:
    """Return the constants of all stages, as ``export.cascade_graph`` writes them."""
    gate, members = manifest.gate, len(manifest.submodels)
    stops = min(gate.max_submodels or members, members) - 1
    return Counter(GATE_RULES[gate.rule].graph_constants(gate.parameters_of(gate.rule), stops))


def _gate_constants(model: Message, rule: GateRule) -> Iterator[float]:
    """Give the scalars that the rule's operator has as its last input; networks have none of this type."""
    kind, code = (INT64, "<q") if rule.graph_constant_type is int else (DOUBLE, "<d")
    for graph in _graphs(model["graph"]):
        scalars = {
            tensor.get("name", ""): tensor
            for tensor in graph.get("initializer", ())
            if tensor.get("data_type") == kind
            and not tensor.get("dims")
            and len(tensor.get("raw_data", b"")) == 8
        }
        for node in graph.get("node", ()):
            last = (node.get("input") or [""])[-1]
            if node.get("op_type") == rule.graph_operator and last in scalars:
                yield float(struct.unpack(code, scalars[last]["raw_data"])[0])


def _graphs(graph: Message) -> Iterator[Message]:
    yield graph
    for node in graph.get("node", ()):
        for attribute in node.get("attribute", ()):
            if "g" in attribute:
                yield from _graphs(attribute["g"])


def _listed(constants: Counter[float]) -> str:
    return ", ".join(f"{count} times {value:g}" for value, count in sorted(constants.items())) or "none"
