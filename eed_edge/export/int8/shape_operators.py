"""ONNX operators in torch that only rearrange values or return sizes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

OperatorInputs = Sequence[Tensor | None]
"""A node's inputs; None is one that is left out."""
Attributes = Mapping[str, Any]


def integers_of(tensor: Tensor | None) -> list[int]:
    """Return a tensor of whole numbers as a list."""
    assert tensor is not None
    return [int(value) for value in tensor.reshape(-1).tolist()]


def reshape(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    """Reshape; a size of 0 keeps the old one."""
    values, shape = inputs
    assert values is not None
    sizes = integers_of(shape)
    if not attributes.get("allowzero"):
        sizes = [values.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return values.reshape(sizes)


def flatten(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    """Flatten to two dimensions at ``axis``."""
    assert inputs[0] is not None
    axis = attributes.get("axis", 1)
    return inputs[0].flatten(axis) if axis == 1 else inputs[0].reshape(inputs[0].shape[:axis].numel(), -1)


def squeeze(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    """Squeeze the given axes, or all of size 1."""
    assert inputs[0] is not None
    return inputs[0].squeeze(tuple(integers_of(inputs[1]))) if len(inputs) > 1 else inputs[0].squeeze()


def unsqueeze(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    """Unsqueeze at axes that are counted in the result."""
    values = inputs[0]
    assert values is not None
    axes = integers_of(inputs[1])
    for axis in sorted(axis % (values.dim() + len(axes)) for axis in axes):
        values = values.unsqueeze(axis)
    return values


def gather(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    """Gather along an axis; negative places count from its end."""
    values, index = inputs
    assert values is not None
    assert index is not None
    axis = attributes.get("axis", 0) % values.dim()
    rows = values.index_select(axis, index.reshape(-1) % values.shape[axis])
    return rows.reshape([*values.shape[:axis], *index.shape, *values.shape[axis + 1 :]])


def slice_ranges(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    """Slice, forwards."""
    values, starts, ends, *rest = inputs
    assert values is not None
    first, last = integers_of(starts), integers_of(ends)
    axes = integers_of(rest[0]) if rest and rest[0] is not None else list(range(len(first)))
    steps = integers_of(rest[1]) if len(rest) > 1 else [1] * len(first)
    if min(steps) < 1:
        raise ValueError("a slice that runs backwards")
    index = [slice(None)] * values.dim()
    for axis, start, end, step in zip(axes, first, last, steps, strict=True):
        index[axis] = slice(start, end, step)
    return values[tuple(index)]


def split(inputs: OperatorInputs, attributes: Attributes) -> tuple[Tensor, ...]:
    """Split by sizes, or into equal parts."""
    values, axis = inputs[0], attributes.get("axis", 0)
    assert values is not None
    if len(inputs) > 1:
        return torch.split(values, integers_of(inputs[1]), axis)
    return torch.split(values, -(-values.shape[axis] // attributes["num_outputs"]), axis)


def pad(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    """Pad by a constant."""
    values, pads, *rest = inputs
    assert values is not None
    if (mode := attributes.get("mode", b"constant")) != b"constant" or len(rest) > 1:
        raise ValueError(f"padding by {mode.decode()}")
    sizes, n = integers_of(pads), values.dim()
    sides = [side for i in reversed(range(n)) for side in (sizes[i], sizes[n + i])]
    fill = float(rest[0]) if rest and rest[0] is not None else 0.0
    return functional.pad(values, sides, value=fill)


def shape_of(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    """Shape, as whole numbers."""
    assert inputs[0] is not None
    sizes = inputs[0].shape[attributes.get("start", 0) : attributes.get("end")]
    return torch.tensor(list(sizes), dtype=torch.int64, device=inputs[0].device)
