"""Kinds of layers: which tensors of a layer shrink with its outputs or inputs, and which layers cannot."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

CONVOLUTIONS = (_ConvNd,)
LAYERS = (_ConvNd, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
PER_CHANNEL_NORMS = (_BatchNorm, _InstanceNorm)
"""Norms that treat every channel by itself: a channel can go and the others stay as they are."""


class UnprunableError(Exception):
    """A layer whose channels have to stay; the text is a clause that says why."""


def is_depthwise(layer: nn.Module) -> bool:
    """Whether it is a convolution with one group, one input and one output a channel."""
    return (
        isinstance(layer, _ConvNd)
        and layer.groups > 1
        and layer.groups == layer.in_channels == layer.out_channels
    )


def channel_dims(layer: nn.Module, side: str) -> Mapping[str, int]:
    """Attributes of the layer's tensors that shrink, and the dimension in which they do.

    Args:
        side: ``outputs`` or ``inputs``; layers that treat channels one by one have ``outputs`` only.

    Raises:
        UnprunableError: the layer mixes channels in a way that no smaller layer repeats.
    """
    if isinstance(layer, _ConvNd):
        if layer.groups > 1 and not is_depthwise(layer):
            raise UnprunableError(f"is a convolution of {layer.groups} groups")
        outputs_dim = int(isinstance(layer, _ConvTransposeNd) and not is_depthwise(layer))
        return _plain(
            layer, {"weight": outputs_dim, "bias": 0} if side == "outputs" else {"weight": 1 - outputs_dim}
        )
    if isinstance(layer, nn.Linear):
        return _plain(layer, {"weight": 0, "bias": 0} if side == "outputs" else {"weight": 1})
    if isinstance(layer, PER_CHANNEL_NORMS):
        return _plain(layer, {"weight": 0, "bias": 0, "running_mean": 0, "running_var": 0})
    if isinstance(layer, nn.PReLU):
        return _plain(layer, {"weight": 0} if layer.num_parameters > 1 else {})
    kind = type(layer).__name__
    if isinstance(layer, (nn.LayerNorm, nn.GroupNorm)):
        raise UnprunableError(f"is a {kind}, whose statistics span channels")
    raise UnprunableError(f"is a {kind}, which cannot be pruned")


def channel_dim(layer: nn.Module, output: Tensor) -> int:
    """The dimension of the channels in the layer's output."""
    return output.dim() - 1 if isinstance(layer, nn.Linear) or output.dim() == 2 else 1


def _plain(layer: nn.Module, dims: Mapping[str, int]) -> Mapping[str, int]:
    """Those tensors that the layer has; all have to be parameters or buffers of its own."""
    present = {}
    for attribute, dim in dims.items():
        if attribute in layer._parameters or attribute in layer._buffers:
            if getattr(layer, attribute) is not None:
                present[attribute] = dim
        elif getattr(layer, attribute, None) is not None:
            raise UnprunableError(f"computes its {attribute} from other tensors (weight norm or the like)")
    return present
