"""Masks on channels: a channel whose mask is 0 counts as removed."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from eed_edge.prune.channels.layer_kinds import channel_dim
from eed_edge.prune.channels.structure import Group, Positions


@contextmanager
def masked(net: nn.Module, groups: Iterable[Group], masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Multiply the outputs of each group's layers by the group's mask, read at every call.

    A channel counts as removed where it enters the sum or the activation: after its norm, or after
    the layer itself where there is none.

    Args:
        masks: group root to a mask ``(channels,)``.
    """

    def hook(root: str, positions: Positions) -> Any:
        def multiply(module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            dim = channel_dim(module, output)
            shape = [1] * output.dim()
            shape[dim] = -1
            return output * _of_layer(masks[root], positions, output.shape[dim]).view(shape)

        return multiply

    handles = [
        net.get_submodule(name).register_forward_hook(hook(group.root, group.outputs[name]))
        for group in groups
        for name in group.masked_at
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _of_layer(mask: Tensor, positions: Positions, channels: int) -> Tensor:
    """The group's mask at its places in a layer, and 1 elsewhere."""
    if positions.are_all(channels):
        return mask
    here, there = (index.to(mask.device) for index in (positions.of_layer, positions.of_group))
    return torch.ones(channels, dtype=mask.dtype, device=mask.device).index_copy(0, here, mask[there])
