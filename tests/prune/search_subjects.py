"""Networks under pruning, and channel scores for them."""

import torch
from torch import nn

from eed_edge.prune.score_search import ChannelScores
from eed_edge.train.networks import build

IMAGE = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def network(arch: str, width: int = 16) -> nn.Module:
    """With batch-norm values as after training, so that wrong channels show."""
    net = build.build_network(arch, classes=4, channels=3, width=width, seed=2)
    generator = torch.Generator().manual_seed(3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
    return net.eval()


def random_choice(structure, seed: int = 0) -> ChannelScores:
    generator = torch.Generator().manual_seed(seed)
    return ChannelScores(
        {g.root: torch.rand(g.channels, generator=generator) for g in structure.groups},
        {g.root: 0.5 for g in structure.groups},
    )
