"""Slicing: a copy of a network whose tensors lack the removed channels."""

import copy
from collections.abc import Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from eed_edge.errors import NetworkError
from eed_edge.prune.channels.layer_kinds import channel_dims
from eed_edge.prune.channels.structure import Group
from eed_edge.train.networks.resize import resize_to

NetworkT = TypeVar("NetworkT", bound=nn.Module)


def sliced(net: NetworkT, groups: Iterable[Group], removed: Mapping[str, Tensor]) -> NetworkT:
    """A copy of ``net`` without these channels; ``net`` is left unchanged.

    Args:
        removed: group root to the channels that go, int64.

    Raises:
        NetworkError: a layer would be left without channels.
    """
    state = net.state_dict()
    for (name, dim), stay in _staying(net, groups, removed).items():
        if not stay.any():
            raise NetworkError(f"{name}: no channel would be left; keep some")
        state[name] = state[name].index_select(dim, stay.nonzero().flatten().to(state[name].device))
    small = copy.deepcopy(net)
    resize_to(small, {name: tuple(tensor.shape) for name, tensor in state.items()})
    small.load_state_dict(state)
    return small


def _staying(
    net: nn.Module, groups: Iterable[Group], removed: Mapping[str, Tensor]
) -> dict[tuple[str, int], Tensor]:
    """Name and dimension of each tensor that shrinks, and which of its channels stay, as bool."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in net.named_modules(remove_duplicate=False):  # a layer may have several names
        names.setdefault(module, []).append(name)
    tensors = net.state_dict()
    stays: dict[tuple[str, int], Tensor] = {}
    for group in (group for group in groups if len(removed[group.root])):
        for side, layers in (("outputs", group.outputs), ("inputs", group.inputs)):
            for layer, positions in layers.items():
                gone = positions.of_layer[torch.isin(positions.of_group, removed[group.root].cpu())]
                for name, dim in tensor_dims(net, layer, side, names).items():
                    size = tensors[name].shape[dim]
                    stay = stays.setdefault((name, dim), torch.ones(size, dtype=torch.bool))
                    stay[gone] = False
    return stays


def tensor_dims(
    net: nn.Module, layer: str, side: str, names: Mapping[nn.Module, list[str]]
) -> dict[str, int]:
    """Full names of a layer's tensors that shrink, under all its names, and their dimension."""
    parameters = dict(net.named_parameters())
    if layer in parameters:  # a parameter that belongs to no layer: torch-pruning takes its last dimension
        return {layer: max(dim for dim, size in enumerate(parameters[layer].shape) if size > 1)}
    module = net.get_submodule(layer)
    return {
        f"{name}.{attribute}".removeprefix("."): dim
        for name in names[module]
        for attribute, dim in channel_dims(module, side).items()
    }
