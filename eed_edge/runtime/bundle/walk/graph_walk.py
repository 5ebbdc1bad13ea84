"""Walk a parsed model in its order: allowed operators only, and bounds of all that it computes for one image.

Every name stands for one tensor, every input is made before it is used, and the type and largest shape of
every tensor is known before anything runs. Sizes may grow in proportion to the images, never faster.
"""

from collections import ChainMap
from collections.abc import Mapping

from eed_edge.errors import BundleError
from eed_edge.runtime.bundle.limits import Limits
from eed_edge.runtime.bundle.onnx_scan import Message, Model
from eed_edge.runtime.bundle.walk.attributes import OPSETS, read_attributes, signed
from eed_edge.runtime.bundle.walk.constants import read_tensor
from eed_edge.runtime.bundle.walk.rule import OperatorNode
from eed_edge.runtime.bundle.walk.rules import RULES, operations, scratch_bytes
from eed_edge.runtime.bundle.walk.sizes import (
    ITEM_BYTES,
    Size,
    Tensor,
    elements,
    larger,
    product,
)

Scope = ChainMap[str, Tensor]
_MOST_INPUTS = 256  # of one node; onnxruntime's work on a node grows with their square


def walk_model(model: Model, name: str, limits: Limits) -> Mapping[str, Tensor]:
    """Judge a parsed model; return the tensors of its main graph by name.

    Args:
        name: the model's name in error messages, such as its file name.

    Raises:
        BundleError: an operator, attribute or type that is not allowed, a size that is not known before
            running, or more work or memory than ``limits`` allow.
    """
    walk = _Walk(model.opset, limits)
    try:
        if model.opset not in OPSETS:
            raise ValueError(f"expected an opset from {OPSETS[0]} to {OPSETS[-1]}, got {model.opset}")
        return walk.graph(model.message["graph"], ChainMap())
    except ValueError as error:
        at = f"node {walk.at!r:.60}: " if walk.at else ""
        raise BundleError(f"{name}: {at}{error}; export the bundle again with eed-edge") from error


class _Walk:
    """Sums over all graphs of one model."""

    def __init__(self, opset: int, limits: Limits) -> None:
        self.opset = opset
        self.limits = limits
        self.at = ""  # the current node, for messages
        self.sums = dict.fromkeys(("weights", "total_bytes", "operations", "constant_operations"), 0)

    def graph(self, graph: Message, outer: Scope) -> Scope:
        """Walk one graph; ``outer`` holds the tensors of the graphs around it."""
        scope = outer.new_child()
        if others := graph.keys() & {"sparse_initializer"}:
            raise ValueError(f"expected dense constants, got {min(others)}")
        for message in graph.get("initializer", ()):
            _define(scope, message.get("name", ""), self._constant(read_tensor(message)))
        for message in graph.get("input", ()):
            if outer:
                raise ValueError("expected branches without inputs, got one")
            name, tensor = message.get("name", ""), _declared(message)
            self._computed(tensor)
            _define(scope, name, tensor)
        for message in graph.get("node", ()):
            self.at = message.get("name") or (message.get("output") or [""])[0]
            self._node(message, scope)
        self.at = ""
        for message in graph.get("output", ()):
            if message.get("name", "") not in scope:
                raise ValueError(f"expected all outputs computed, got none for {message.get('name')!r:.60}")
            _declared(message)
        return scope

    def _node(self, message: Message, scope: Scope) -> None:
        attributes = read_attributes(message, self.opset)
        names, input_names = message.get("output", []), message.get("input", [])
        node = OperatorNode(message["op_type"], attributes, len(names))
        if not names or (not input_names and node.operator != "Constant") or len(input_names) > _MOST_INPUTS:
            raise ValueError(
                f"expected {node.operator} with outputs and up to {_MOST_INPUTS} inputs, got {len(names)} and"
                f" {len(input_names)}"
            )
        inputs = [_lookup(scope, name) for name in input_names]
        if node.operator == "If":
            outputs = self._branches(node, scope)
        else:
            outputs = RULES[node.operator](node, inputs)
            if all(tensor is None or tensor.constant for tensor in inputs):
                outputs = [self._folded(tensor) for tensor in outputs]
                if node.operator != "DequantizeLinear":
                    self._add("constant_operations", operations(node, inputs, outputs))
            self._add("operations", operations(node, inputs, outputs))
            self._allocated(scratch_bytes(node, inputs, outputs))
        if len(outputs) != len(names):
            raise ValueError(f"expected {len(outputs)} outputs of {node.operator}, got {len(names)}")
        for name, tensor in zip(names, outputs, strict=True):
            self._computed(tensor)
            _define(scope, name, tensor)

    def _branches(self, node: OperatorNode, scope: Scope) -> list[Tensor]:
        """Walk both branches of an ``If``; return bounds of what either gives."""
        if len(node.attributes) != 2:
            raise ValueError("expected two branches, got fewer")
        graphs: list[Message] = [node.attributes[name] for name in ("then_branch", "else_branch")]
        results = []
        for graph in graphs:
            inside = self.graph(graph, scope)
            results.append([inside[message.get("name", "")] for message in graph.get("output", ())])
        return [_either(one, other) for one, other in zip(*results, strict=True)]

    def _constant(self, tensor: Tensor) -> Tensor:
        self._add("weights", product(tensor.shape).factor)
        return tensor

    def _folded(self, tensor: Tensor) -> Tensor:
        return Tensor(tensor.kind, tensor.shape, tensor.values, tensor.scales, constant=True)

    def _computed(self, tensor: Tensor) -> None:
        """Check the memory of a tensor that the graph computes."""
        size = elements(tensor.shape).factor * ITEM_BYTES[tensor.kind]
        self._allocated(size)
        self._add("total_bytes", size)

    def _allocated(self, size: int) -> None:
        """Check a piece of memory."""
        if size > self.limits.tensor_bytes:
            raise _beyond("tensor_bytes", self.limits.tensor_bytes, size)

    def _add(self, name: str, amount: int) -> None:
        self.sums[name] += amount
        if self.sums[name] > (limit := getattr(self.limits, name)):
            raise _beyond(name, limit, self.sums[name])


def _beyond(name: str, limit: int, amount: int) -> ValueError:
    return ValueError(
        f"expected at most {limit:,} {name.replace('_', ' ')}, got {min(amount, 10**99):.3g}"
        f" (eed_edge.Limits({name}=...) allows more)"
    )


def _define(scope: Scope, name: str, tensor: Tensor) -> None:
    if not name or name in scope:
        raise ValueError(f"expected every tensor to have a name of its own, got {name!r:.60}")
    scope[name] = tensor


def _lookup(scope: Scope, name: str) -> Tensor | None:
    if name and name not in scope:
        raise ValueError(f"expected inputs that are computed before, got {name!r:.60}")
    return scope[name] if name else None


def _declared(message: Message) -> Tensor:
    """Return the tensor that a graph's input or output declares; one size, the first, may be open."""
    name, kind = message.get("name", ""), message.get("type", {})
    tensor = kind.get("tensor_type")
    if tensor is None or kind.keys() - {"tensor_type", "denotation"}:
        raise ValueError(f"expected {name!r:.60} to be a tensor, got another type")
    if tensor.get("elem_type", 0) not in ITEM_BYTES:
        raise ValueError(f"expected a type out of {', '.join(map(str, ITEM_BYTES))} for {name!r:.60}")
    sizes = []
    for i, dim in enumerate(tensor.get("shape", {}).get("dim", ())):
        count = signed(dim.get("dim_value", 0))
        if "dim_value" not in dim:
            sizes.append(Size(1, 1, exact=i == 0))
        elif count < 0:
            raise ValueError(f"expected sizes of at least 0 for {name!r:.60}, got {count}")
        else:
            sizes.append(Size(count))
    return Tensor(tensor["elem_type"], tuple(sizes))


def _either(one: Tensor, other: Tensor) -> Tensor:
    if one.kind != other.kind or len(one.shape) != len(other.shape):
        raise ValueError("expected branches of the same types and axes, got others")
    return Tensor(one.kind, tuple(map(larger, one.shape, other.shape)))
