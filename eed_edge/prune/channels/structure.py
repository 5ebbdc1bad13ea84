"""Coupled channel groups of a network and the cost of any choice of widths, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Positions:
    """Where a group's channels lie among those of one layer.

    of_layer, of_group: ``(m,)`` int64; channel ``of_layer[i]`` of the layer goes with channel
        ``of_group[i]`` of the group. No channel of the layer comes twice.
    """

    of_layer: Tensor
    of_group: Tensor

    def are_all(self, channels: int) -> bool:
        """Whether these are all channels of a layer of that size, in the group's order."""
        every = torch.arange(channels)
        return torch.equal(self.of_layer, every) and torch.equal(self.of_group, every)


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that can only be removed together.

    root: name of the layer that torch-pruning starts from.
    channels: their number.
    outputs: layers and parameters that have these channels as outputs, by name.
    inputs: layers that have them as inputs, by name.
    producers: those of ``outputs`` that are convolutions or linear layers.
    masked_at: those of ``outputs`` behind which a masked channel is set to 0: norms, and
        producers without a norm behind them.
    branch: name of the module whose ``Removable`` branch has these channels inside, or "".
    """

    root: str
    channels: int
    outputs: Mapping[str, Positions]
    inputs: Mapping[str, Positions]
    producers: tuple[str, ...]
    masked_at: tuple[str, ...]
    branch: str = ""


@dataclass(frozen=True)
class Unpruned:
    """Channels that keep their number.

    layers: the layers that output them.
    reason: why, as a clause that names the layer at fault.
    """

    layers: tuple[str, ...]
    channels: int
    reason: str


@dataclass(frozen=True)
class Layer:
    """Cost of one unpruned layer, and the groups of its inputs and outputs.

    name: of the layer or parameter; empty for all that does not shrink.
    weights, biases: numbers of parameters that shrink with inputs × outputs, and with outputs only.
    macs: multiply-accumulates for one image.
    inputs, outputs: group root to the share of this layer's inputs or outputs that it makes up.
    """

    name: str
    weights: int
    biases: int
    macs: int
    inputs: Mapping[str, float]
    outputs: Mapping[str, float]

    def remaining_shares(self, keep_ratio: Mapping[str, Any]) -> tuple[Any, Any]:
        """The shares of its inputs and outputs that stay when each group keeps a share of its channels."""
        inputs: Any = 1 - sum(share * (1 - keep_ratio[root]) for root, share in self.inputs.items())
        outputs: Any = 1 - sum(share * (1 - keep_ratio[root]) for root, share in self.outputs.items())
        return inputs, outputs


@dataclass(frozen=True)
class Structure:
    """Prunable channels of a network, and the cost of any choice of widths."""

    groups: tuple[Group, ...]
    unpruned: tuple[Unpruned, ...]
    layers: tuple[Layer, ...]
    norm_of: Mapping[str, str]
    """Convolution or linear layer to the batch norm that follows it, and nothing else does."""

    def cost(self, keep_ratio: Mapping[str, Any]) -> tuple[Any, Any]:
        """Parameters and MACs when each group keeps a share of its channels.

        Exact, except that the norm at the end of a branch without channels still counts.

        Args:
            keep_ratio: group root to a share in [0, 1], a float or a tensor (then differentiable).
        """
        params: Any = 0.0
        macs: Any = 0.0
        for layer in self.layers:
            inputs, outputs = layer.remaining_shares(keep_ratio)
            params = params + (layer.weights * inputs + layer.biases) * outputs
            macs = macs + layer.macs * inputs * outputs
        return params, macs
