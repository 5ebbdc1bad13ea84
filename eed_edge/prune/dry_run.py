"""Dry run of pruning: checks that a network can be pruned before it is trained."""

import torch
from torch import Tensor

from eed_edge.errors import EedError, NetworkError
from eed_edge.prune import score_search
from eed_edge.prune.groups import analyse, count_cost
from eed_edge.prune.importance import SCORES
from eed_edge.prune.removal import remove_channels
from eed_edge.prune.widths import choose_widths, member_budget
from eed_edge.recipe import Recipe
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.networks.build import Classifier, build_network
from eed_edge.train.networks.resize import resize_to


def check_prunable(base: Classifier, few: Images, recipe: Recipe) -> None:
    """Score, mask, prune, rebuild and run ``base`` once, to fail before training if one of these fails.

    Args:
        few: about two images.

    Raises:
        NetworkError: one of these steps fails, or two members do not fit into the team's budget.
    """
    try:
        _dry_run(base, as_float(few.images), few.labels, recipe)
    except EedError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise NetworkError(
            f"the network cannot be pruned ({type(error).__name__}: {reason});"
            " use plain convolutions, linear layers and norms"
        ) from error


def _dry_run(base: Classifier, images: Tensor, labels: Tensor, recipe: Recipe) -> None:
    image, prune = images[:1], recipe.prune
    structure, _ = analyse(base, image)
    for name in recipe.scores.names:
        scores = score_search.uniform(
            structure, SCORES[name](base, structure, images, labels), member_share=prune.member_share
        )
    budget = member_budget(base, image, recipe)
    widths = choose_widths(
        structure, scores.keep_ratio, budget, round_to=prune.round_to, branches=prune.branches
    )
    masks = {root: torch.ones_like(score) for root, score in scores.scores.items()}
    with torch.no_grad(), score_search.masked(base, structure, masks):
        base.eval()(images)
    small = remove_channels(base, scores, image, widths).eval()
    rebuilt = build_network(**base.architecture).to(images.device)
    resize_to(rebuilt, {name: tuple(tensor.shape) for name, tensor in small.state_dict().items()})
    rebuilt.to(images.device).load_state_dict(small.state_dict())
    with torch.no_grad():
        if not torch.allclose(rebuilt.eval()(images), small(images), rtol=1e-3, atol=1e-3):
            raise NetworkError(
                "a pruned copy and its reloaded checkpoint give different logits; use plain layers"
            )
    shares = [
        part / full for part, full in zip(count_cost(small, image), count_cost(base, image), strict=True)
    ]
    team = 1 - prune.sparsity
    if any(2 * share > team for share in shares):
        raise NetworkError(
            f"two members of {max(shares):.3f} of the base each do not fit into a team of {team:.3f};"
            " lower prune.member_share or prune.sparsity"
        )
