"""Resize the layers of a network to the stored shapes of its pruned copy."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from eed_edge.errors import NetworkError


@runtime_checkable
class Removable(Protocol):
    """A module with a branch that pruning may remove; users' blocks may implement it, too.

    inner: name of the layer inside the module whose outputs only the branch uses.
    """

    inner: str

    def remove_branch(self) -> None:
        """Remove the branch and its parameters, in place."""


def resize_to(net: nn.Module, shapes: dict[str, Sequence[int]]) -> None:
    """Resize the layers of ``net`` in place to the stored tensor shapes of a pruned copy.

    A branch without stored tensors is removed.

    Args:
        shapes: parameter or buffer name to shape.

    Raises:
        NetworkError: a name or a number of dimensions that ``net`` does not have.
    """
    for name, module in net.named_modules():
        if isinstance(module, Removable) and f"{name}.{module.inner}.weight" not in shapes:
            module.remove_branch()
    state = net.state_dict()
    if state.keys() != shapes.keys():
        name = sorted(state.keys() ^ shapes.keys())[0]
        raise NetworkError(
            f"the stored weights and the network differ at {name!r}; use the recipe they were trained with"
        )
    for name, tensor in state.items():
        if tensor.dim() != len(shapes[name]):
            raise NetworkError(f"{name}: expected {tensor.dim()} dimensions, got {len(shapes[name])}")
        if tuple(tensor.shape) != tuple(shapes[name]):
            owner, _, attribute = name.rpartition(".")
            _resize(net.get_submodule(owner), attribute, tuple(shapes[name]))


def _resize(module: nn.Module, attribute: str, shape: tuple[int, ...]) -> None:
    """Replace one tensor of a layer by an empty one of another shape, and the layer's sizes with it."""
    before: Tensor = getattr(module, attribute)
    empty = before.detach().new_empty(shape)
    if attribute in module._parameters:
        setattr(module, attribute, nn.Parameter(empty, requires_grad=before.requires_grad))
    else:
        setattr(module, attribute, empty)
    if isinstance(module, (_BatchNorm, _InstanceNorm)):
        module.num_features = shape[0]
    elif attribute != "weight":
        return
    elif isinstance(module, _ConvNd):
        _resize_convolution(module, shape)
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = shape
    elif isinstance(module, nn.PReLU):
        module.num_parameters = shape[0]
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = shape
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = shape[0]


def _resize_convolution(module: _ConvNd, shape: tuple[int, ...]) -> None:
    """Set the numbers of channels that a weight of this shape has."""
    if module.groups > 1 and shape[1] == 1:  # depthwise: one group a channel
        module.groups = module.in_channels = module.out_channels = shape[0]
        return
    first, second = shape[0], shape[1] * module.groups
    module.in_channels, module.out_channels = (first, second) if module.transposed else (second, first)
