"""Recorded calls of a network's layers, and the first layer at which two runs differ."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eed_edge.train.networks.entered_layers import NETWORK_FORWARD


class Call(NamedTuple):
    """One call of a layer: its name, and copies of the tensors that went in and came out."""

    layer: str
    inputs: list[Tensor]
    outputs: list[Tensor]


def recorded_calls(net: nn.Module, images: Tensor) -> list[Call]:
    """All calls of layers on ``images``, innermost first."""
    calls: list[Call] = []
    before: list[list[Tensor]] = []
    hooks = []

    def after(name: str, output: Any) -> None:
        calls.append(Call(name or NETWORK_FORWARD, before.pop(), _tensors(output)))

    for name, module in net.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda _, inputs: before.append(_tensors(inputs))))
        hooks.append(module.register_forward_hook(lambda _, __, output, name=name: after(name, output)))
    try:
        with torch.no_grad():
            net(images)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def diverging_layer(together: list[Call], apart: list[Call], *, index: int, count: int) -> str:
    """The first layer that gives other outputs for inputs that are equal.

    Args:
        together: calls on ``count`` images.
        apart: calls on the image at ``index`` alone, or on the same images.
    """
    for one, other in zip(together, apart, strict=False):
        if (
            one.layer == other.layer
            and not _alike(one.outputs, other.outputs, index, count)
            and _alike(one.inputs, other.inputs, index, count)
        ):
            return one.layer
    return NETWORK_FORWARD


def _alike(together: list[Tensor], apart: list[Tensor], index: int, count: int) -> bool:
    return len(together) == len(apart) and all(
        _close(_part(one, other, index, count), other) for one, other in zip(together, apart, strict=True)
    )


def _part(together: Tensor, apart: Tensor, index: int, count: int) -> Tensor:
    """The share of one image of a tensor of all images, along the dimension that differs."""
    if together.dim() != apart.dim():
        return together
    for dim, (many, few) in enumerate(zip(together.shape, apart.shape, strict=True)):
        if many == count * few and many != few:
            return together.narrow(dim, index * few, few)
    return together


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    scale = other.abs().max().clamp_min(1e-12) if other.numel() else 1.0
    return bool(((one - other).abs() <= 1e-4 * scale).all())


def _tensors(value: Any) -> list[Tensor]:
    """Copies of the floating-point tensors of a nested value."""
    if isinstance(value, Tensor):
        return [value.detach().clone()] if value.is_floating_point() else []
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, (list, tuple)) else []
