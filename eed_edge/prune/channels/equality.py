"""Check that pruned equals masked: try groups on a copy with random weights, and reject those that fail.

torch-pruning infers the groups from shapes and may be wrong; a wrong group changes the answers or
makes the pruned copy crash, for some choice of channels if not for all.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from eed_edge.prune.channels.layer_kinds import LAYERS, PER_CHANNEL_NORMS
from eed_edge.prune.channels.masking import masked
from eed_edge.prune.channels.slicing import sliced
from eed_edge.prune.channels.structure import Group

DOUBLE_TOLERANCE, SINGLE_TOLERANCE = 1e-6, 1e-4
"""Largest difference of logits, as a share of the largest logit, in double and in single precision."""
Draw = Callable[[int, torch.Generator], Tensor]


def _random_half(channels: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(channels, generator=generator)[: channels // 2]


def _first_third(channels: int, _: torch.Generator) -> Tensor:
    return torch.arange((channels + 2) // 3 if channels > 1 else 0)


def _last_third(channels: int, _: torch.Generator) -> Tensor:
    return torch.arange(channels - channels // 3, channels)


def _random_number(channels: int, generator: torch.Generator) -> Tensor:
    number = int(torch.randint(0, channels, (1,), generator=generator))
    return torch.randperm(channels, generator=generator)[:number]


DRAWS: tuple[Draw, ...] = (_random_half, _first_third, _last_third, _random_number, _random_half)
"""Which channels go; a split or a reshape of fixed sizes survives some of these, but not all."""


def failing_groups(net: nn.Module, groups: Sequence[Group], image: Tensor) -> set[str]:
    """Roots of the groups without which pruned equals masked for every draw.

    The groups are bisected until each has passed together with others or failed alone.

    Args:
        image: one example ``(1, c, h, w)``; its values do not matter.
    """
    trial = _Trial(net, image)
    passed = _passing(trial, list(groups))
    while passed and not trial.agrees(passed):  # each half passes and both together do not
        passed = passed[:-1]
    return {group.root for group in groups} - {group.root for group in passed}


def _passing(trial: "_Trial", groups: list[Group]) -> list[Group]:
    if not groups or trial.agrees(groups):
        return groups
    if len(groups) == 1:
        return []
    middle = len(groups) // 2
    return _passing(trial, groups[:middle]) + _passing(trial, groups[middle:])


class _Trial:
    """A copy with random weights and images, in double precision where the network can compute in it."""

    def __init__(self, net: nn.Module, image: Tensor) -> None:
        images = torch.rand(2, *image.shape[1:], generator=torch.Generator().manual_seed(0))
        self.net, self.images = double_if_possible(with_random_weights(net), images)
        self.tolerance = DOUBLE_TOLERANCE if self.images.dtype == torch.float64 else SINGLE_TOLERANCE

    def agrees(self, groups: Sequence[Group]) -> bool:
        """Whether pruned equals masked for every draw."""
        return all(self._agrees(groups, draw, seed) for seed, draw in enumerate(DRAWS))

    def _agrees(self, groups: Sequence[Group], draw: Draw, seed: int) -> bool:
        generator = torch.Generator().manual_seed(seed)
        removed = {group.root: draw(group.channels, generator) for group in groups}
        try:
            return difference(self.net, groups, removed, self.images) <= self.tolerance
        except Exception:  # the forward pass of a pruned user's network may raise anything
            return False


def difference(net: nn.Module, groups: Sequence[Group], removed: dict[str, Tensor], images: Tensor) -> float:
    """Largest difference between pruned and masked logits, as a share of the largest masked logit.

    Args:
        removed: group root to the channels that go.
    """
    masks = {
        group.root: torch.ones(group.channels, dtype=images.dtype).index_fill(0, removed[group.root], 0)
        for group in groups
    }
    with torch.no_grad():
        with masked(net.eval(), groups, masks):
            expected = net(images)
        pruned = sliced(net, groups, removed).eval()(images)
    if not torch.isfinite(expected).all():
        return float("inf")
    return float((pruned - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


def double_if_possible(net: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
    """Network and images in double precision, or as they are if the network insists on single precision."""
    try:
        double = copy.deepcopy(net).double()
        with torch.no_grad():
            if double(images.double()).dtype == torch.float64:
                return double, images.double()
    except Exception:  # a user's forward pass may raise anything
        return net, images
    return net, images


def with_random_weights(net: nn.Module, seed: int = 0) -> nn.Module:
    """Copy the network to the CPU with weights that are not zero, small or equal, so that every path counts.

    Initial weights can hide a path: layer scales of 1e-6, zero biases, or a last norm of zeros.
    """
    net = copy.deepcopy(net).cpu().eval().float()
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=generator) + 0.5

    def normal(like: Tensor, std: float) -> Tensor:
        return std * torch.randn(like.shape, generator=generator)

    with torch.no_grad():
        for module in net.modules():
            norm = isinstance(module, PER_CHANNEL_NORMS)
            for name, tensor in module.named_parameters(recurse=False):
                if name == "weight" and isinstance(module, LAYERS):
                    tensor.copy_(normal(tensor, (2 / max(1, tensor[0].numel())) ** 0.5))
                elif name == "weight" and norm:
                    tensor.copy_(uniform(tensor))
                else:
                    tensor.copy_(tensor * uniform(tensor) + normal(tensor, 0.2))
            for name, buffer in module.named_buffers(recurse=False):
                if norm and name == "running_mean":
                    buffer.copy_(normal(buffer, 0.3))
                elif norm and name == "running_var":
                    buffer.copy_(uniform(buffer))
    return net
