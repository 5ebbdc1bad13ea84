"""Channel removal: a physically smaller copy of a network, and its batch-norm statistics."""

import copy
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from eed_edge.errors import NetworkError
from eed_edge.prune.groups import NORMS, trace
from eed_edge.prune.score_search import ChannelScores
from eed_edge.train.data import batches
from eed_edge.train.data.batches import Images
from eed_edge.train.networks.resize import Removable

Net = TypeVar("Net", bound=nn.Module)


def remove_channels(base: Net, scores: ChannelScores, image: Tensor, widths: Mapping[str, int]) -> Net:
    """A copy of ``base`` without the channels of the lowest scores; ``base`` is left unchanged.

    Args:
        scores: the scores per group root.
        image: one example ``(1, c, h, w)``.
        widths: group root to the number of channels that stay; 0 removes the group's branch.

    Raises:
        NetworkError: torch-pruning cannot trace the network.
    """
    net = copy.deepcopy(base)
    graph = trace(net, image)
    for root, width in widths.items():
        importance = scores.scores[root]
        if not width:
            continue
        remove = importance.argsort(stable=True)[: len(importance) - width].tolist()
        if not remove:
            continue
        layer = net.get_submodule(root)
        pruner = graph.get_pruner_of_module(layer)
        group = graph.get_pruning_group(layer, pruner.prune_out_channels, idxs=sorted(remove))
        if not graph.check_pruning_group(group):
            raise NetworkError(
                f"{root}: removing {len(remove)} of {len(importance)} channels would leave a layer empty"
            )
        group.prune()
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
