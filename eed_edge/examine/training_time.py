"""Time of a training on this machine: each stage's steps are timed on a few images and multiplied."""

import torch

from eed_edge.prune.candidates import candidates
from eed_edge.prune.channels.masking import masked
from eed_edge.prune.dry_run import DryRun
from eed_edge.recipe import Recipe
from eed_edge.select.selection import MOST_CONSIDERED
from eed_edge.train.data.batches import Images
from eed_edge.train.networks.build import Classifier
from eed_edge.train.networks.soft_labels import VIEWS, teacher_passes, wanted_once
from eed_edge.train.step_time import BATCH, gradient_seconds, step_seconds


def training_seconds(
    net: Classifier, dry: DryRun, few: Images, recipe: Recipe, *, train: int, tune: int
) -> dict[str, float]:
    """Seconds of each stage, estimated.

    Args:
        few: images to time with; up to a batch of 32.
        train, tune: numbers of images of these parts.
    """
    subset = train * (recipe.pool.shared + (1 - recipe.pool.shared) / recipe.pool.subsets)
    pool = len(candidates(recipe))
    few = few[: min(BATCH, recipe.base.batch, len(few))]
    member = dry.member
    step, member_step = step_seconds(net, few, recipe.base), step_seconds(member, few, recipe.pool)
    pass_, member_pass = gradient_seconds(net, few), gradient_seconds(member, few)
    forward = pass_ / 3
    judged = {
        name: min(tune, cfg.judge_images) * (cfg.judge_steps + 1)
        for name, cfg in (("base", recipe.base), ("pool", recipe.pool), ("joint", recipe.joint))
    }
    masks = {
        group.root: torch.ones(group.channels, device=few.images.device) for group in dry.structure.groups
    }
    search = 0.0
    if recipe.scores.search:
        with masked(net, dry.structure.groups, masks):
            search = recipe.scores.epochs * subset * step_seconds(net, few, recipe.pool)
    scoring = recipe.scores.images * 14 * pass_
    fine_tuning = recipe.pool.epochs * (subset * member_step + judged["pool"] * member_pass)
    soft_labels = VIEWS * train * forward if wanted_once(recipe) else 0.0
    if recipe.pool.soft_labels == "each":
        fine_tuning += teacher_passes(recipe.pool) * subset * forward
    team = team_size(recipe)
    answer = forward if recipe.joint.teacher == "base" else team * member_pass / 3
    joint_teacher = teacher_passes(recipe.joint) * train * answer
    return {
        "base": recipe.base.epochs * (train * step + judged["base"] * pass_),
        "pool": pool * (search + scoring + subset * forward / 3 + fine_tuning) + soft_labels,
        "select": tune * (recipe.pool.judge_steps + 1) * member_pass * (pool + 2 * MOST_CONSIDERED),
        "joint": recipe.joint.epochs
        * team
        * (train * step_seconds(member, few, recipe.joint) + 4 * judged["joint"] * member_pass)
        + (joint_teacher if recipe.joint.soft_labels == "each" else 0.0),
    }


def team_size(recipe: Recipe) -> int:
    """The most members that the recipe's sparsity admits, out of the pool."""
    pool = len(candidates(recipe))
    return max(2, min(pool, int((1 - recipe.prune.sparsity) / recipe.prune.member_share)))
