"""Importance scores and keep ratios of a base, learned under attack where the recipe asks for it."""

import copy

import torch
from torch import Tensor

from eed_edge.attacks.interface import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.prune import score_search
from eed_edge.prune.channels.structure import Structure
from eed_edge.prune.groups import analyse
from eed_edge.prune.importance import SCORES
from eed_edge.prune.score_search import ChannelScores
from eed_edge.recipe import Recipe
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images, as_float, images_at_once, in_order
from eed_edge.train.networks.build import Classifier

SCORE_STEPS = 10
"""PGD steps on the images that an importance score is estimated from."""
SCORE_BATCH = 512
"""Images of up to 32 x 32 pixels that are attacked together."""


def learned_scores(
    base: Classifier, images: Images, score: str, *, recipe: Recipe, context: TrainingContext
) -> tuple[Structure, ChannelScores]:
    """Rank the channels of ``base`` by a score and, with ``scores.search``, learn ranks and keep ratios.

    Args:
        images: the training images that the score and its search may see.
        score: a key of ``SCORES``.
        context: an existing checkpoint of the search at ``context.state`` is resumed.
    """
    device = images.images.device
    generator = torch.Generator(device).manual_seed(context.seed)
    torch.manual_seed(context.seed)  # for layers that draw numbers, such as dropout
    drawn = torch.randperm(len(images), generator=generator, device=device)[: recipe.scores.images]
    structure = analyse(base, as_float(images.images[:1]))
    attacked, labels = _attack_base(base, images[drawn], recipe, generator)
    importance = SCORES[score](base, structure, attacked, labels)
    scores = score_search.uniform(structure, importance, member_share=recipe.prune.member_share)
    if recipe.scores.search:
        scores = score_search.search_scores(
            copy.deepcopy(base), structure, scores, images, recipe=recipe, context=context
        )
    return structure, scores


def _attack_base(
    base: Classifier, images: Images, recipe: Recipe, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The images attacked with PGD against ``base``, if the run has attacks, as floats; and their labels."""
    if not recipe.attacked:
        return as_float(images.images), images.labels
    threat = Threat(recipe.pool.eps_255 / 255, generator=generator)
    attack, size = PGD(steps=SCORE_STEPS), images_at_once(images.images, SCORE_BATCH)
    parts = [attack(base, batch, labels, threat) for batch, labels in in_order(images, size)]
    return torch.cat(parts), images.labels
