"""Dry run of pruning: checks that a network can be pruned before it is trained."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eed_edge.errors import EedError, NetworkError
from eed_edge.prune import score_search
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.prune.channels.masking import masked
from eed_edge.prune.channels.structure import Structure
from eed_edge.prune.groups import analyse
from eed_edge.prune.importance import SCORES
from eed_edge.prune.member_time import time_budget
from eed_edge.prune.removal import remove_channels
from eed_edge.prune.score_search import ChannelScores
from eed_edge.prune.widths import choose_widths, member_budget
from eed_edge.recipe import Recipe
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.networks.build import Classifier, build_network
from eed_edge.train.networks.resize import resize_to


@dataclass(frozen=True)
class DryRun:
    """What pruning at the recipe's budget gives: the groups of the base, and a member of uniform widths.

    widths: group root to the number of channels that stay.
    """

    structure: Structure
    widths: dict[str, int]
    member: Classifier


def check_prunable(base: Classifier, few: Images, recipe: Recipe) -> DryRun:
    """Score, mask, prune, rebuild and run ``base`` once, to fail before training if one of these fails.

    Args:
        few: about two images.

    Raises:
        NetworkError: one of these steps fails, or two members do not fit into the team's budget.
    """
    try:
        return _dry_run(base, as_float(few.images), few.labels, recipe)
    except EedError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise NetworkError(
            f"the network cannot be pruned ({type(error).__name__}: {reason});"
            " use plain convolutions, linear layers and norms"
        ) from error


def _dry_run(base: Classifier, images: Tensor, labels: Tensor, recipe: Recipe) -> DryRun:
    image, prune = images[:1], recipe.prune
    structure = analyse(base, image)
    for name in recipe.scores.names:
        scores = _scored(base, structure, name, images, labels, member_share=prune.member_share)
    widths = choose_widths(
        structure,
        scores.keep_ratio,
        member_budget(base, image, recipe),
        round_to=prune.round_to,
        branches=prune.branches,
        time=time_budget(structure, tuple(image.shape[1:]), prune),
    )
    masks = {root: torch.ones_like(score) for root, score in scores.scores.items()}
    with torch.no_grad(), masked(base, structure.groups, masks):
        base.eval()(images)
    small = remove_channels(base, structure, scores, widths).eval()
    _check_rebuilt(base, small, images)
    shares = [
        part / full for part, full in zip(count_cost(small, image), count_cost(base, image), strict=True)
    ]
    team = 1 - prune.sparsity
    if any(2 * share > team for share in shares):
        smaller = "lower prune.latency_ms or latency_share, " if prune.latency_table else ""
        raise NetworkError(
            f"two members of {max(shares):.3f} of the base each do not fit into a team of {team:.3f};"
            f" {smaller}lower prune.member_share to {team / 2:.3f}, or prune.sparsity to"
            f" {max(0.0, 1 - 2 * max(shares)):.3f} or less"
        )
    return DryRun(structure, widths, small)


def _scored(
    base: Classifier, structure: Structure, name: str, images: Tensor, labels: Tensor, *, member_share: float
) -> ChannelScores:
    """Compute the score ``name``; the error names a score that this network does not admit."""
    try:
        return score_search.uniform(
            structure, SCORES[name](base, structure, images, labels), member_share=member_share
        )
    except Exception as error:  # a score runs a changed copy of a user's network
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NetworkError(
            f"the score {name!r} cannot be computed for this network: {reason}; leave it out of scores.names"
        ) from error


def _check_rebuilt(base: Classifier, small: Classifier, images: Tensor) -> None:
    """Check that the pruned network, built anew from its architecture and its weights, answers the same."""
    rebuilt = build_network(**base.architecture).to(images.device)
    rebuilt.channels_last = base.channels_last
    resize_to(rebuilt, {name: tuple(tensor.shape) for name, tensor in small.state_dict().items()})
    rebuilt.to(images.device).load_state_dict(small.state_dict())
    with torch.no_grad():
        if not torch.allclose(rebuilt.eval()(images), small(images), rtol=1e-3, atol=1e-3):
            raise NetworkError(
                "a pruned copy and its reloaded checkpoint give different logits; net.arch has to build the"
                " same network every time, with all its numbers in parameters or buffers"
            )
