"""ONNX operators in torch, by name: those that image classifiers are exported with, of opset 18."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from eed_edge.export.int8.straight_through import dequantize_linear, quantize_linear

Attributes = Mapping[str, Any]
Operator = Callable[[Sequence[Tensor | None], Attributes], Tensor]
"""Takes a node's inputs, None for one that is left out, and its attributes; gives its first output."""


def _plain(function: Callable[..., Tensor]) -> Operator:
    """An operator without attributes whose inputs are the function's arguments."""
    return lambda inputs, _: function(*inputs)


def _with(function: Callable[..., Tensor], **names: tuple[str, Any]) -> Operator:
    """An operator of one input; ``names`` says for each keyword the ONNX attribute and its default."""

    def apply(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
        words = {word: attributes.get(name, default) for word, (name, default) in names.items()}
        return function(inputs[0], **words)

    return apply


def _sizes(tensor: Tensor | None) -> list[int]:
    """A tensor of whole numbers as a list."""
    assert tensor is not None
    return [int(value) for value in tensor.reshape(-1).tolist()]


def _padded(images: Tensor, attributes: Attributes, fill: float) -> tuple[Tensor, list[int]]:
    """Images padded by hand where the two sides differ, and the padding that is left to do."""
    spatial = images.dim() - 2
    pads = list(attributes.get("pads", [0] * 2 * spatial))
    before, after = pads[:spatial], pads[spatial:]
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ValueError(f"auto_pad {attributes['auto_pad'].decode()}")
    if before == after:
        return images, before
    sides = [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
    return functional.pad(images, sides, value=fill), [0] * spatial


def _conv(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    images, weight, *bias = inputs
    assert images is not None
    assert weight is not None
    spatial = images.dim() - 2
    padded, padding = _padded(images, attributes, 0.0)
    convolve: Callable[..., Tensor] = (functional.conv1d, functional.conv2d, functional.conv3d)[spatial - 1]
    return convolve(
        padded,
        weight,
        bias[0] if bias else None,
        stride=attributes.get("strides", [1] * spatial),
        padding=padding,
        dilation=attributes.get("dilations", [1] * spatial),
        groups=attributes.get("group", 1),
    )


def _gemm(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    left, right, *bias = inputs
    assert left is not None
    assert right is not None
    left = left.T if attributes.get("transA") else left
    right = right.T if attributes.get("transB") else right
    product = (left @ right) * float(attributes.get("alpha", 1.0))
    if not bias or bias[0] is None:
        return product
    return product + bias[0] * float(attributes.get("beta", 1.0))


def _max_pool(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    assert inputs[0] is not None
    padded, padding = _padded(inputs[0], attributes, -torch.inf)
    spatial = padded.dim() - 2
    pool: Callable[..., Tensor] = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[
        spatial - 1
    ]
    return pool(
        padded,
        attributes["kernel_shape"],
        stride=attributes.get("strides", [1] * spatial),
        padding=padding,
        dilation=attributes.get("dilations", [1] * spatial),
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
    )


def _average_pool(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    images = inputs[0]
    assert images is not None
    spatial, counted = images.dim() - 2, bool(attributes.get("count_include_pad", 0))
    pads = attributes.get("pads", [0] * 2 * spatial)
    if pads[:spatial] != pads[spatial:] and not counted:
        raise ValueError("padding that differs between two sides")
    padded, padding = _padded(images, attributes, 0.0)
    pool: Callable[..., Tensor] = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[
        spatial - 1
    ]
    return pool(
        padded,
        attributes["kernel_shape"],
        stride=attributes.get("strides", [1] * spatial),
        padding=padding,
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
        count_include_pad=counted,
    )


def _global_average_pool(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    assert inputs[0] is not None
    return inputs[0].mean(tuple(range(2, inputs[0].dim())), keepdim=True)


def _reduction(reduce: Callable[..., Tensor]) -> Operator:
    def apply(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
        values = inputs[0]
        assert values is not None
        axes = _sizes(inputs[1]) if len(inputs) > 1 and inputs[1] is not None else attributes.get("axes", [])
        if not axes and attributes.get("noop_with_empty_axes"):
            return values
        return reduce(values, tuple(axes) or tuple(range(values.dim())), bool(attributes.get("keepdims", 1)))

    return apply


def _reshape(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    values, shape = inputs
    assert values is not None
    sizes = _sizes(shape)
    if not attributes.get("allowzero"):
        sizes = [values.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return values.reshape(sizes)


def _flatten(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    assert inputs[0] is not None
    axis = attributes.get("axis", 1)
    return inputs[0].flatten(axis) if axis == 1 else inputs[0].reshape(inputs[0].shape[:axis].numel(), -1)


def _squeeze(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    assert inputs[0] is not None
    return inputs[0].squeeze(tuple(_sizes(inputs[1]))) if len(inputs) > 1 else inputs[0].squeeze()


def _unsqueeze(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    values = inputs[0]
    assert values is not None
    axes = _sizes(inputs[1])
    for axis in sorted(axis % (values.dim() + len(axes)) for axis in axes):
        values = values.unsqueeze(axis)
    return values


def _gather(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    values, index = inputs
    assert values is not None
    assert index is not None
    axis = attributes.get("axis", 0) % values.dim()
    rows = values.index_select(axis, index.reshape(-1) % values.shape[axis])
    return rows.reshape([*values.shape[:axis], *index.shape, *values.shape[axis + 1 :]])


def _slice(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    values, starts, ends, *rest = inputs
    assert values is not None
    first, last = _sizes(starts), _sizes(ends)
    axes = _sizes(rest[0]) if rest and rest[0] is not None else list(range(len(first)))
    steps = _sizes(rest[1]) if len(rest) > 1 else [1] * len(first)
    if min(steps) < 1:
        raise ValueError("a slice that runs backwards")
    index = [slice(None)] * values.dim()
    for axis, start, end, step in zip(axes, first, last, steps, strict=True):
        index[axis] = slice(start, end, step)
    return values[tuple(index)]


def _pad(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    values, pads, *rest = inputs
    assert values is not None
    if (mode := attributes.get("mode", b"constant")) != b"constant" or len(rest) > 1:
        raise ValueError(f"padding by {mode.decode()}")
    sizes, n = _sizes(pads), values.dim()
    sides = [side for i in reversed(range(n)) for side in (sizes[i], sizes[n + i])]
    fill = float(rest[0]) if rest and rest[0] is not None else 0.0
    return functional.pad(values, sides, value=fill)


def _clip(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    values, low, high = (*inputs, None, None)[:3]
    assert values is not None
    values = values if low is None else torch.maximum(values, low)
    return values if high is None else torch.minimum(values, high)


def _prelu(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    values, slope = inputs
    assert values is not None
    assert slope is not None
    return torch.where(values < 0, values * slope, values)


def _batch_norm(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    images, scale, bias, mean, variance = inputs
    assert images is not None
    return functional.batch_norm(images, mean, variance, scale, bias, eps=attributes.get("epsilon", 1e-5))


def _layer_norm(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    values, scale, *bias = inputs
    assert values is not None
    shape = values.shape[attributes.get("axis", -1) :]
    return functional.layer_norm(
        values, shape, scale, bias[0] if bias else None, attributes.get("epsilon", 1e-5)
    )


def _instance_norm(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    images, scale, bias = inputs
    assert images is not None
    return functional.instance_norm(images, weight=scale, bias=bias, eps=attributes.get("epsilon", 1e-5))


def _dequantize(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    quantised, scale, zero = (*inputs, None)[:3]
    assert quantised is not None
    assert scale is not None
    return dequantize_linear(quantised, scale, zero, attributes.get("axis", 1))


def _shape(inputs: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    assert inputs[0] is not None
    sizes = inputs[0].shape[attributes.get("start", 0) : attributes.get("end")]
    return torch.tensor(list(sizes), dtype=torch.int64)


OPERATORS: dict[str, Operator] = {
    "Add": _plain(torch.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda inputs, attributes: torch.cat(
        [each for each in inputs if each is not None], attributes["axis"]
    ),
    "Conv": _conv,
    "DequantizeLinear": _dequantize,
    "Div": _plain(torch.div),
    "Elu": _with(functional.elu, alpha=("alpha", 1.0)),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "HardSwish": _plain(functional.hardswish),
    "Identity": _plain(torch.clone),
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _with(functional.leaky_relu, negative_slope=("alpha", 0.01)),
    "Log": _plain(torch.log),
    "MatMul": _plain(torch.matmul),
    "MaxPool": _max_pool,
    "Mish": _plain(functional.mish),
    "Mul": _plain(torch.mul),
    "PRelu": _prelu,
    "Pad": _pad,
    "Pow": _plain(torch.pow),
    "QuantizeLinear": _plain(quantize_linear),
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceSum": _reduction(torch.sum),
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": _plain(torch.sigmoid),
    "Slice": _slice,
    "Softmax": _with(torch.softmax, dim=("axis", -1)),
    "Softplus": _plain(functional.softplus),
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(torch.sub),
    "Tanh": _plain(torch.tanh),
    "Transpose": lambda inputs, attributes: inputs[0].permute(attributes["perm"]),  # type: ignore[union-attr]
    "Unsqueeze": _unsqueeze,
}
