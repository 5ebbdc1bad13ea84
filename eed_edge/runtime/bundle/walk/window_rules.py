"""Bounds for operators that slide a window over a picture: convolutions and pooling."""

import math

from eed_edge.runtime.bundle.walk.rule import Inputs, OperatorNode, exact_shape, made, need_axes, needed
from eed_edge.runtime.bundle.walk.sizes import ONE, Shape, Size, Tensor, larger, product


def convolution_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``Conv``: ``(n, c, h, w)`` and weights ``(m, c / group, kh, kw)`` to ``(n, m, h', w')``."""
    images, weight = needed(inputs, 0), needed(inputs, 1)
    shape, kernel = need_axes(images, 3, "images"), exact_shape(weight, "a weight")
    _same_axes(shape, kernel)
    _check_kernel(node, kernel[2:])
    return made(images.kind, (shape[0], Size(kernel[0]), *_windows(node, shape[2:], kernel[2:])))


def transposed_convolution_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``ConvTranspose``: the larger of what any padding gives."""
    images, weight = needed(inputs, 0), needed(inputs, 1)
    shape, kernel = need_axes(images, 3, "images"), exact_shape(weight, "a weight")
    _same_axes(shape, kernel)
    _check_kernel(node, kernel[2:])
    axes = len(kernel) - 2
    strides, dilations = _per_axis(node, "strides", axes), _per_axis(node, "dilations", axes)
    more = _per_axis(node, "output_padding", axes, default=0)
    sizes = []
    for size, extent, stride, dilation, extra in zip(
        shape[2:], kernel[2:], strides, dilations, more, strict=True
    ):
        span = stride * max(size.factor - 1, 0) + dilation * (extent - 1) + 1 + extra
        sizes.append(Size(max(span, stride * size.factor), size.power, exact=False))
    channels = kernel[1] * node.attributes.get("group", 1)
    return made(images.kind, (shape[0], Size(channels), *sizes))


def pooling_bound(node: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``MaxPool`` and ``AveragePool``."""
    images = needed(inputs, 0)
    shape, kernel = need_axes(images, 3, "images"), tuple(node.attributes.get("kernel_shape", ()))
    _same_axes(shape, (1, 1, *kernel))
    return made(images.kind, (*shape[:2], *_windows(node, shape[2:], kernel)))


def global_pooling_bound(_: OperatorNode, inputs: Inputs) -> list[Tensor]:
    """``GlobalAveragePool`` and ``GlobalMaxPool``."""
    images = needed(inputs, 0)
    shape = need_axes(images, 2, "images")
    return made(images.kind, (*shape[:2], *(ONE for _ in shape[2:])))


def convolution_operations_bound(node: OperatorNode, inputs: Inputs, outputs: list[Tensor]) -> int:
    """Multiply-accumulates of a convolution, either way."""
    weight = exact_shape(needed(inputs, 1), "a weight")
    if node.operator == "Conv":
        return product(outputs[0].shape).factor * math.prod(weight[1:])
    return product(needed(inputs, 0).shape).factor * math.prod(weight[1:])


def convolution_scratch_bound(node: OperatorNode, inputs: Inputs, outputs: list[Tensor]) -> int:
    """Bytes that onnxruntime works in: all windows in a row, or for int8 a place for each of their pixels."""
    weight = exact_shape(needed(inputs, 1), "a weight")
    if node.operator == "ConvTranspose":
        return 4 * product(needed(inputs, 0).shape[2:]).factor * math.prod(weight[1:])
    return product(outputs[0].shape[2:]).factor * max(math.prod(weight[1:]), 8 * math.prod(weight[2:]))


def pooling_operations_bound(node: OperatorNode, _: Inputs, outputs: list[Tensor]) -> int:
    """Elements that all windows read."""
    kernel: list[int] = node.attributes["kernel_shape"]
    return product(outputs[0].shape).factor * math.prod(kernel)


def _windows(node: OperatorNode, sizes: Shape, kernel: tuple[int, ...]) -> Shape:
    """Return the number of windows along every axis."""
    axes = len(kernel)
    strides, dilations = _per_axis(node, "strides", axes), _per_axis(node, "dilations", axes)
    pads = _per_axis(node, "pads", 2 * axes, default=0)
    automatic = node.attributes.get("auto_pad", "NOTSET")
    result = []
    for i, (size, extent) in enumerate(zip(sizes, kernel, strict=True)):
        span = dilations[i] * (extent - 1) + 1
        if automatic.startswith("SAME"):
            count = -(-size.factor // strides[i])
        else:
            padding = pads[i] + pads[i + axes] if automatic == "NOTSET" else 0
            rounding = strides[i] - 1 if node.attributes.get("ceil_mode") else 0
            count = max((size.factor + padding - span + rounding) // strides[i] + 1, 0)
        exact = size.exact and not size.power and not node.attributes.get("ceil_mode")
        bound = Size(count, 0, exact)
        result.append(bound if not size.power else larger(bound, Size(size.factor + sum(pads), size.power)))
    return tuple(result)


def _per_axis(node: OperatorNode, name: str, axes: int, *, default: int = 1) -> list[int]:
    values: list[int] = node.attributes.get(name) or [default] * axes
    if len(values) != axes:
        raise ValueError(f"expected {axes} {name} of {node.operator}, got {len(values)}")
    return values


def _same_axes(shape: Shape, kernel: tuple[int, ...]) -> None:
    if len(kernel) != len(shape) or len(kernel) < 3:
        raise ValueError(f"expected a kernel of {len(shape) - 2} axes, got {len(kernel) - 2}")


def _check_kernel(node: OperatorNode, kernel: tuple[int, ...]) -> None:
    kernel_shape = tuple(node.attributes.get("kernel_shape") or kernel)
    if kernel_shape != kernel or not all(kernel):
        raise ValueError(f"expected the kernel_shape of the weight, {kernel}, got {kernel_shape}")
