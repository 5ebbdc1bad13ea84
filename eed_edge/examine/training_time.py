"""Time of a training on this machine: each stage's steps are timed on a few images and multiplied."""

import copy
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from eed_edge.attacks import training_images
from eed_edge.prune.candidates import candidates
from eed_edge.prune.channels.masking import masked
from eed_edge.prune.dry_run import DryRun
from eed_edge.recipe import Recipe, Training
from eed_edge.select.selection import MOST_CONSIDERED
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.networks.build import Classifier
from eed_edge.train.system.devices import mixed_precision

BATCH, REPEATS = 32, 2


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
    step, member_step = _step_seconds(net, few, recipe.base), _step_seconds(member, few, recipe.pool)
    pass_, member_pass = _pass_seconds(net, few), _pass_seconds(member, few)
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
            search = recipe.scores.epochs * subset * _step_seconds(net, few, recipe.pool)
    scoring = recipe.scores.images * 14 * pass_
    fine_tuning = recipe.pool.epochs * (subset * (member_step + forward) + judged["pool"] * member_pass)
    team = team_size(recipe)
    return {
        "base": recipe.base.epochs * (train * step + judged["base"] * pass_),
        "pool": pool * (search + scoring + subset * forward / 3 + fine_tuning),
        "select": tune * (recipe.pool.judge_steps + 1) * member_pass * (pool + 2 * MOST_CONSIDERED),
        "joint": recipe.joint.epochs
        * team
        * (train * _step_seconds(member, few, recipe.joint) + 4 * judged["joint"] * member_pass),
    }


def team_size(recipe: Recipe) -> int:
    """The most members that the recipe's sparsity admits, out of the pool."""
    pool = len(candidates(recipe))
    return max(2, min(pool, int((1 - recipe.prune.sparsity) / recipe.prune.member_share)))


def _step_seconds(net: nn.Module, few: Images, cfg: Training) -> float:
    """Seconds an image of a training step with its attack."""
    net = copy.deepcopy(net)
    images, labels = as_float(few.images), few.labels
    optimiser = torch.optim.SGD(net.parameters(), lr=0.0, momentum=0.9)
    generator = torch.Generator(images.device).manual_seed(0)

    def step() -> None:
        net.train()
        with mixed_precision(images.device):
            attacked = training_images.make_adversarial(
                net, images, labels, attack=cfg.attack, cfg=cfg, generator=generator
            )
            loss = F.cross_entropy(net(attacked).float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()

    return _seconds(step, images.device) / len(few)


def _pass_seconds(net: nn.Module, few: Images) -> float:
    """Seconds an image of a forward pass and the gradient at the image, as attacks take them."""
    net, images = copy.deepcopy(net).eval().requires_grad_(False), as_float(few.images)

    def once() -> None:
        images.requires_grad_(True)
        torch.autograd.grad(net(images).sum(), images)

    return _seconds(once, images.device) / len(few)


def _seconds(call: Callable[[], None], device: torch.device) -> float:
    """Seconds of a call, the best of a few, once it is warm."""
    with torch.random.fork_rng(devices=[]):
        call()
        times = []
        for _ in range(REPEATS):
            if device.type == "cuda":
                torch.cuda.synchronize()
            started = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
    return min(times)
