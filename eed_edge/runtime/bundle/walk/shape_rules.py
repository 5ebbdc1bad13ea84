"""Bounds for operators that arrange values or make tensors of a size that is itself a value."""

import math

from eed_edge.runtime.bundle.walk.constants import read_tensor
from eed_edge.runtime.bundle.walk.rule import Inputs, OperatorNode, made, need_axes, needed, optional
from eed_edge.runtime.bundle.walk.sizes import (
    FLOAT,
    INT64,
    MOST_AXES,
    MOST_VALUES,
    ONE,
    Shape,
    Size,
    Tensor,
    axis_of,
    broadcast,
    constants,
    elements,
    known,
    product,
    total,
)


def shape_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Shape``: the sizes become values."""
    shape = needed(inputs, 0).shape
    start, end = node.attributes.get("start", 0), node.attributes.get("end", len(shape))
    part = shape[slice(start, end)]
    return [Tensor(INT64, (Size(len(part)),), values=part, constant=_is_fixed(part))]


def size_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Size``: the number of elements."""
    shape = needed(inputs, 0).shape
    return [Tensor(INT64, (), values=(elements(shape),), constant=_is_fixed(shape))]


def constant_bound(node: OperatorNode, _: Inputs) -> list[Tensor]:
    """``Constant``: a stored tensor."""
    if "value" not in node.attributes:
        raise ValueError("expected the value of Constant, got none")
    return [read_tensor(node.attributes["value"])]


def constant_of_shape_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``ConstantOfShape``: one value everywhere."""
    value = node.attributes.get("value")
    kind = FLOAT if value is None else read_tensor(value).kind
    return made(kind, _target(needed(inputs, 0)))


def expand_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Expand``: broadcast to a shape."""
    first = needed(inputs, 0)
    return made(first.kind, broadcast(first.shape, _target(needed(inputs, 1))))


def tile_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Tile``: repeat along every axis."""
    first, repeats = needed(inputs, 0), _target(needed(inputs, 1))
    if len(repeats) != len(first.shape):
        raise ValueError(f"expected {len(first.shape)} repeats, got {len(repeats)}")
    sizes = zip(first.shape, repeats, strict=True)
    return made(first.kind, tuple(product(pair) for pair in sizes))


def sequence_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Range`` of integers."""
    bounds = [known(needed(inputs, i), "a range") for i in range(3)]
    if any(len(bound) != 1 for bound in bounds):
        raise ValueError("expected single numbers for a range, got others")
    (start,), (limit,), (step,) = bounds
    if step.power or start.power or not step.factor or not (step.exact and start.exact):
        raise ValueError("expected a range from a constant in constant steps, got another")
    if step.factor < 0 and (limit.power or not limit.exact):
        raise ValueError("expected a range down to a constant, got another")
    if not limit.power:
        count = max(-(-(limit.factor - start.factor) // step.factor), 0)
        return made(INT64, (Size(count, 0, limit.exact),))
    exact = limit.exact and (start.factor, step.factor) == (0, 1)
    return made(INT64, (Size(limit.factor + max(-start.factor, 0), limit.power, exact),))


def reshape_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Reshape``: -1 stands for what is left, 0 for the size of that axis unless ``allowzero``."""
    first = needed(inputs, 0)
    sizes = list(known(needed(inputs, 1), "a shape"))
    if len(sizes) > MOST_AXES:
        raise ValueError(f"expected at most {MOST_AXES} axes, got {len(sizes)}")
    for i, size in enumerate(sizes):
        if size.factor == 0 and size.exact and not node.attributes.get("allowzero", 0):
            if i >= len(first.shape):
                raise ValueError(f"expected an axis {i} to copy, got {len(first.shape)} axes")
            sizes[i] = first.shape[i]
    unknown = [i for i, size in enumerate(sizes) if size.factor < 0]
    if len(unknown) > 1 or any(sizes[i] != Size(-1) for i in unknown):
        raise ValueError("expected a shape with at most one -1, got another")
    if unknown:
        sizes[unknown[0]] = _left_over(elements(first.shape), [s for s in sizes if s.factor >= 0])
    values = first.values if len(sizes) <= 1 else None
    return [Tensor(first.kind, tuple(sizes), values=values, scales=first.scales if values else None)]


def flatten_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Flatten``: two axes."""
    first = needed(inputs, 0)
    axis, axes = node.attributes.get("axis", 1), len(first.shape)
    axis = axes if axis == axes else axis_of(axis, max(axes, 1))
    return made(first.kind, (product(first.shape[:axis]), product(first.shape[axis:])))


def squeeze_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Squeeze``: drop axes of size 1."""
    first, second = needed(inputs, 0), optional(inputs, 1)
    if second is None:
        if not all(size.exact and not size.power for size in first.shape):
            raise ValueError("expected the axes to squeeze, got none")
        gone = {i for i, size in enumerate(first.shape) if size == ONE}
    else:
        gone = {axis_of(axis, len(first.shape)) for axis in constants(second, "axes")}
    shape = tuple(size for i, size in enumerate(first.shape) if i not in gone)
    return [Tensor(first.kind, shape, values=first.values)]


def unsqueeze_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Unsqueeze``: add axes of size 1."""
    first, axes = needed(inputs, 0), constants(needed(inputs, 1), "axes")
    count = len(first.shape) + len(axes)
    if count > MOST_AXES:
        raise ValueError(f"expected at most {MOST_AXES} axes, got {count}")
    new, old = {axis_of(axis, count) for axis in axes}, iter(first.shape)
    if len(new) != len(axes):
        raise ValueError("expected axes that differ, got one twice")
    shape = tuple(ONE if i in new else next(old) for i in range(count))
    return [Tensor(first.kind, shape, values=first.values if count <= 1 else None)]


def transpose_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Transpose``: axes in another order."""
    first = needed(inputs, 0)
    order = node.attributes.get("perm", list(range(len(first.shape)))[::-1])
    if sorted(order) != list(range(len(first.shape))):
        raise ValueError(f"expected an order of {len(first.shape)} axes, got {order}")
    return [Tensor(first.kind, tuple(first.shape[i] for i in order), values=first.values)]


def concatenation_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Concat`` along one axis."""
    tensors = [needed(inputs, i) for i in range(max(len(inputs), 1))]
    shape = need_axes(tensors[0], 1, "tensors to join")
    axis = axis_of(node.attributes.get("axis", 0), len(shape))
    if any(len(tensor.shape) != len(shape) for tensor in tensors):
        raise ValueError("expected tensors of as many axes to join, got others")
    others = [tuple(tensor.shape[i] for tensor in tensors) for i in range(len(shape))]
    joined = tuple(
        total(sizes) if i == axis else broadcast(*((size,) for size in sizes))[0]
        for i, sizes in enumerate(others)
    )
    values: Shape | None = ()
    for tensor in tensors:
        values = None if values is None or tensor.values is None else values + tensor.values
        if values is not None and len(values) > MOST_VALUES:
            values = None
    return [Tensor(tensors[0].kind, joined, values=values or None)]


def split_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Split`` along one axis, in given or equal parts."""
    first, second = needed(inputs, 0), optional(inputs, 1)
    axis = axis_of(node.attributes.get("axis", 0), len(first.shape))
    size = first.shape[axis]
    if second is not None:
        parts = [Size(part) for part in constants(second, "parts")]
    else:
        part = -(-size.factor // node.attributes.get("num_outputs", node.outputs))
        even = not size.power and size.exact and part * node.outputs == size.factor
        parts = [Size(part, size.power, even)] * node.outputs
    return [Tensor(first.kind, (*first.shape[:axis], part, *first.shape[axis + 1 :])) for part in parts]


def slice_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Slice``: exact along axes whose size is, else at most as large as before."""
    first = needed(inputs, 0)
    starts, ends = (constants(needed(inputs, i), "a slice") for i in (1, 2))
    third, fourth = optional(inputs, 3), optional(inputs, 4)
    axes = constants(third, "axes") if third is not None else list(range(len(starts)))
    steps = constants(fourth, "steps") if fourth is not None else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or not all(steps):
        raise ValueError("expected as many starts, ends, axes and steps other than 0, got others")
    shape, values = list(first.shape), first.values
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        i = axis_of(axis, len(shape))
        size, part = shape[i], slice(start, end, step)
        if size.exact and not size.power:
            shape[i] = Size(len(range(*part.indices(size.factor))))
            values = values[part] if values is not None else None
        else:
            shape[i], values = Size(size.factor, size.power, exact=False), None
    return [Tensor(first.kind, tuple(shape), values=values)]


def gather_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Gather``: one axis replaced by those of the indices."""
    first, indices = needed(inputs, 0), needed(inputs, 1)
    axis = axis_of(node.attributes.get("axis", 0), len(first.shape))
    shape = (*first.shape[:axis], *indices.shape, *first.shape[axis + 1 :])
    values = None
    if first.values is not None and indices.values is not None and len(first.shape) == 1:
        places = constants(indices, "places")
        if all(-len(first.values) <= place < len(first.values) for place in places):
            values = tuple(first.values[place] for place in places)
    return [Tensor(first.kind, shape, values=values)]


def gather_elements_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``GatherElements``: as large as its indices."""
    return made(needed(inputs, 0).kind, needed(inputs, 1).shape)


def non_zero_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``NonZero``: at most one column for every element."""
    shape = needed(inputs, 0).shape
    return made(INT64, (Size(len(shape)), elements(shape)._replace(exact=False)))


def pad_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Pad``: negative widths cut nothing from the bound."""
    first, widths, third = needed(inputs, 0), constants(needed(inputs, 1), "pads"), optional(inputs, 3)
    axes = constants(third, "axes") if third is not None else list(range(len(first.shape)))
    if len(widths) != 2 * len(axes):
        raise ValueError(f"expected {2 * len(axes)} pads, got {len(widths)}")
    shape = list(first.shape)
    for axis, before, after in zip(axes, widths[: len(axes)], widths[len(axes) :], strict=True):
        i = axis_of(axis, len(shape))
        size = shape[i]
        exact = size.exact and (not size.power or before == after == 0) and min(before, after) >= 0
        shape[i] = Size(size.factor + max(before, 0) + max(after, 0), size.power, exact)
    return made(first.kind, tuple(shape))


def resize_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Resize`` by constant scales or to constant sizes."""
    first, scales, sizes = needed(inputs, 0), optional(inputs, 2), optional(inputs, 3)
    if sizes is not None:
        return made(first.kind, _target(sizes))
    if scales is None or scales.scales is None or len(scales.scales) != len(first.shape):
        raise ValueError("expected constant scales for all axes, got others")
    shape = []
    for size, scale in zip(first.shape, scales.scales, strict=True):
        if not 0 < scale < math.inf:
            raise ValueError(f"expected finite scales above 0, got {scale}")
        grown = Size(math.ceil(size.factor * scale) + 1, size.power, exact=False)
        shape.append(size if scale == 1 else grown)
    return made(first.kind, tuple(shape))


def _is_fixed(sizes: Shape) -> bool:
    """Whether sizes are the same for any images; onnxruntime then computes with them while loading."""
    return all(size.exact and not size.power for size in sizes)


def _target(tensor: Tensor) -> Shape:
    """Return the values of a shape, all at least 0."""
    values = known(tensor, "a shape")
    if len(values) > MOST_AXES or min((size.factor for size in values), default=0) < 0:
        raise ValueError(f"expected a shape of up to {MOST_AXES} sizes of at least 0, got another")
    return values


def _left_over(count: Size, others: list[Size]) -> Size:
    """Return the size of the axis that a -1 stands for."""
    rest = product(others)
    if not rest.exact or rest.power > count.power:
        return count._replace(exact=False)
    exact = count.exact and count.factor % rest.factor == 0
    return Size(-(-count.factor // rest.factor), count.power - rest.power, exact)
