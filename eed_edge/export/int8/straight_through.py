"""QuantizeLinear and DequantizeLinear in torch, with the gradient that rounding hides."""

from typing import Any

import torch
from torch import Tensor


class _StraightThrough(torch.autograd.Function):
    """``clamp(round(x / scale) + zero)``, whose backward pass treats rounding and saturation as the identity.

    Where ``zero`` is the lowest value, saturation below stands for a ReLU that the quantiser has removed, and
    passes no gradient, as the ReLU did not.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, zero: Tensor, low: int, high: int) -> Tensor:
        rounded = torch.round(values / scale) + zero
        ctx.save_for_backward(scale, (rounded >= low) | (zero != low))
        return rounded.clamp_(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        scale, passes = ctx.saved_tensors
        return gradients[0] * passes / scale, None, None, None, None


def quantize_linear(values: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """The quantised values as whole float32 numbers, for one scale in all.

    Source:
        Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", 2013, for the
        straight-through gradient; Athalye et al., ICML 2018, for its use in attacks (BPDA).
    """
    kind = torch.iinfo(zero_point.dtype)
    quantised: Tensor = _StraightThrough.apply(values, scale, zero_point.to(scale.dtype), kind.min, kind.max)  # type: ignore[no-untyped-call]
    return quantised


def dequantize_linear(quantised: Tensor, scale: Tensor, zero_point: Tensor | None, axis: int = 1) -> Tensor:
    """Dequantised values; ``scale`` is one number, or one for each index of ``axis``."""
    zero = torch.zeros_like(scale) if zero_point is None else zero_point.to(scale.dtype)
    if scale.numel() == 1:
        scale, zero = scale.reshape(()), zero.reshape(())
    else:
        shape = [1] * quantised.dim()
        shape[axis] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return (quantised.to(scale.dtype) - zero) * scale
