"""Resize the layers of a network to the stored shapes of its pruned copy."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import nn

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
    if attribute in module._parameters:
        setattr(module, attribute, nn.Parameter(torch.empty(shape)))
    else:
        setattr(module, attribute, torch.empty(shape))
    if attribute != "weight":
        return
    if isinstance(module, nn.Conv2d):
        if module.groups > 1 and shape[1] == 1:  # depthwise: one group a channel
            module.groups = module.in_channels = shape[0]
        else:
            module.in_channels = shape[1] * module.groups
        module.out_channels = shape[0]
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = shape
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.num_features = shape[0]
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = shape
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = shape[0]
