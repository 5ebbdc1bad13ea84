"""Interface of a rule of the walk: from a node and its inputs to bounds of its outputs."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from eed_edge.runtime.bundle.walk.sizes import Shape, Tensor

Inputs = Sequence[Tensor | None]
"""The inputs of a node in order; None: one that is left out."""


class OperatorNode(NamedTuple):
    """An operator with its checked attributes and the number of its outputs."""

    operator: str
    attributes: dict[str, Any]
    outputs: int = 1


WalkRule = Callable[[OperatorNode, Inputs], list[Tensor]]


def needed(inputs: Inputs, index: int) -> Tensor:
    """Return an input that must be there.

    Raises:
        ValueError: it is left out.
    """
    tensor = inputs[index] if index < len(inputs) else None
    if tensor is None:
        raise ValueError(f"expected an input {index}, got none")
    return tensor


def optional(inputs: Inputs, index: int) -> Tensor | None:
    """Return an input, or None where it is left out."""
    return inputs[index] if index < len(inputs) else None


def exact_shape(tensor: Tensor, what: str) -> tuple[int, ...]:
    """Return a shape that is the same for any number of images.

    Raises:
        ValueError: it is not.
    """
    if any(size.power or not size.exact for size in tensor.shape):
        raise ValueError(f"expected {what} of a fixed shape, got one that depends on the images")
    return tuple(size.factor for size in tensor.shape)


def need_axes(tensor: Tensor, least: int, what: str) -> Shape:
    """Return the shape of a tensor with at least so many axes.

    Raises:
        ValueError: it has fewer.
    """
    if len(tensor.shape) < least:
        raise ValueError(f"expected {what} of at least {least} axes, got {len(tensor.shape)}")
    return tensor.shape


def made(kind: int, shape: Shape) -> list[Tensor]:
    """Return one output of a type and shape."""
    return [Tensor(kind, shape)]
