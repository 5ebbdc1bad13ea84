"""ONNX operators in torch, by name: those that image classifiers are exported with, of opset 18."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from eed_edge.export.int8 import shape_operators
from eed_edge.export.int8.shape_operators import Attributes, OperatorInputs, integers_of
from eed_edge.export.int8.straight_through import dequantize_linear, quantize_linear

Operator = Callable[[OperatorInputs, Attributes], Tensor | tuple[Tensor, ...]]
"""Takes a node's inputs, None for one that is left out, and its attributes; gives its output, or a few."""


def _plain(function: Callable[..., Tensor]) -> Operator:
    """An operator without attributes whose inputs are the function's arguments."""
    return lambda inputs, _: function(*inputs)


def _with(function: Callable[..., Tensor], **names: tuple[str, Any]) -> Operator:
    """An operator of one input; ``names`` says for each keyword the ONNX attribute and its default."""

    def apply(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
        words = {word: attributes.get(name, default) for word, (name, default) in names.items()}
        return function(inputs[0], **words)

    return apply


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


def _conv(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
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


def _gemm(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    left, right, *bias = inputs
    assert left is not None
    assert right is not None
    left = left.T if attributes.get("transA") else left
    right = right.T if attributes.get("transB") else right
    product = (left @ right) * float(attributes.get("alpha", 1.0))
    if not bias or bias[0] is None:
        return product
    return product + bias[0] * float(attributes.get("beta", 1.0))


def _max_pool(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
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


def _average_pool(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
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


def _global_average_pool(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    assert inputs[0] is not None
    return inputs[0].mean(tuple(range(2, inputs[0].dim())), keepdim=True)


def _reduction(reduce: Callable[..., Tensor]) -> Operator:
    def apply(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
        values = inputs[0]
        assert values is not None
        axes = (
            integers_of(inputs[1])
            if len(inputs) > 1 and inputs[1] is not None
            else attributes.get("axes", [])
        )
        if not axes and attributes.get("noop_with_empty_axes"):
            return values
        return reduce(values, tuple(axes) or tuple(range(values.dim())), bool(attributes.get("keepdims", 1)))

    return apply


def _clip(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    values, low, high = (*inputs, None, None)[:3]
    assert values is not None
    values = values if low is None else torch.maximum(values, low)
    return values if high is None else torch.minimum(values, high)


def _prelu(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    values, slope = inputs
    assert values is not None
    assert slope is not None
    return torch.where(values < 0, values * slope, values)


def _batch_norm(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    images, scale, bias, mean, variance = inputs
    assert images is not None
    return functional.batch_norm(images, mean, variance, scale, bias, eps=attributes.get("epsilon", 1e-5))


def _layer_norm(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    values, scale, *bias = inputs
    assert values is not None
    shape = values.shape[attributes.get("axis", -1) :]
    return functional.layer_norm(
        values, shape, scale, bias[0] if bias else None, attributes.get("epsilon", 1e-5)
    )


def _instance_norm(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    images, scale, bias = inputs
    assert images is not None
    return functional.instance_norm(images, weight=scale, bias=bias, eps=attributes.get("epsilon", 1e-5))


def _dequantize(inputs: OperatorInputs, attributes: Attributes) -> Tensor:
    quantised, scale, zero = (*inputs, None)[:3]
    assert quantised is not None
    assert scale is not None
    return dequantize_linear(quantised, scale, zero, attributes.get("axis", 1))


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
    "Flatten": shape_operators.flatten,
    "Gather": shape_operators.gather,
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
    "Pad": shape_operators.pad,
    "Pow": _plain(torch.pow),
    "QuantizeLinear": _plain(quantize_linear),
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceSum": _reduction(torch.sum),
    "Relu": _plain(torch.relu),
    "Reshape": shape_operators.reshape,
    "Shape": shape_operators.shape_of,
    "Sigmoid": _plain(torch.sigmoid),
    "Slice": shape_operators.slice_ranges,
    "Softmax": _with(torch.softmax, dim=("axis", -1)),
    "Softplus": _plain(functional.softplus),
    "Split": shape_operators.split,
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": shape_operators.squeeze,
    "Sub": _plain(torch.sub),
    "Tanh": _plain(torch.tanh),
    "Transpose": lambda inputs, attributes: inputs[0].permute(attributes["perm"]),  # type: ignore[union-attr]
    "Unsqueeze": shape_operators.unsqueeze,
}
