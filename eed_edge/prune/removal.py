"""Channel removal: a physically smaller copy of a network, and its batch-norm statistics."""

from collections.abc import Mapping

import torch
from torch import nn

from eed_edge.errors import NetworkError
from eed_edge.prune.channels.layer_kinds import NORMS
from eed_edge.prune.channels.slicing import NetworkT, sliced
from eed_edge.prune.channels.structure import Structure
from eed_edge.prune.score_search import ChannelScores
from eed_edge.train.data import batches
from eed_edge.train.data.batches import Images
from eed_edge.train.networks.resize import Removable


def remove_channels(
    base: NetworkT, structure: Structure, scores: ChannelScores, widths: Mapping[str, int]
) -> NetworkT:
    """A copy of ``base`` without the channels of the lowest scores; ``base`` is left unchanged.

    Args:
        structure: the groups of ``base``.
        scores: the scores per group root.
        widths: group root to the number of channels that stay; 0 removes the group's branch.

    Raises:
        NetworkError: a layer would be left without channels.
    """
    removed = {}
    for root, width in widths.items():
        importance = scores.scores[root]
        going = len(importance) - width if width else 0
        removed[root] = importance.argsort(stable=True)[:going]
    net = sliced(base, (group for group in structure.groups if group.root in widths), removed)
    for root in (root for root, width in widths.items() if not width):
        block = net.get_submodule(root.rpartition(".")[0])
        if not isinstance(block, Removable):
            raise NetworkError(f"{root}: expected a layer inside a removable branch; keep some channels")
        block.remove_branch()
    net.zero_grad(set_to_none=True)
    return net


def recalibrate(net: nn.Module, train: Images, *, batch: int) -> None:
    """Recompute the batch-norm statistics of ``net`` in place on unaugmented images; weights stay."""
    norms = [module for module in net.modules() if isinstance(module, NORMS)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over all batches
    net.eval()
    for norm in norms:
        norm.train()
    with torch.no_grad():
        for images, _ in batches.in_order(train, batch):
            if len(images) > 1:
                net(images)
    net.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
