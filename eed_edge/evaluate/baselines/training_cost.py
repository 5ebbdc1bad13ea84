"""Training cost of a run in multiply-accumulates: the compute budget of the baselines."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch

from eed_edge.attacks.registry import TRAINING_ATTACKS
from eed_edge.errors import CheckpointError
from eed_edge.files.regular_files import read_regular
from eed_edge.prune.candidates import candidates
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.recipe import Recipe, Training
from eed_edge.train.networks import checkpoint
from eed_edge.train.networks.soft_labels import VIEWS, teacher_passes, wanted_once
from eed_edge.train.run_folder import Run

T = TypeVar("T", bound=Training)
COUNTED = (
    "training images x multiply-accumulates of one forward pass x passes; a backward pass counts as one"
    " to the images alone and as two to images and weights; judging on tune is left out on both sides"
)
TRAINED = 3
"""Passes of one training image without its attack: forward, and backward to images and weights."""
SEARCHED = 2
"""The same in a score search, where the weights are frozen."""


def attack_passes(attack: str, cfg: Training) -> int:
    """Passes to attack one training image: forward and backward for each step."""
    return TRAINING_ATTACKS[attack].from_recipe(cfg).passes


def counted(recipe: Recipe) -> str:
    """Description of what the budget counts."""
    unknown = "; what the pretrained weights of base.init have cost is not known and not counted"
    return COUNTED + (unknown if recipe.base.init else "")


def run_cost(run: Run) -> dict[str, float]:
    """Multiply-accumulates of the base, the score searches, the pool and the joint stage, and their sum.

    Raises:
        CheckpointError: a stage has not finished, or has no record of its epochs.
    """
    dense = _macs(run)
    recipe, each = run.recipe, {}
    _, record = checkpoint.load_checkpoint(run.path / "base.safetensors")
    macs = {"base": _epochs(record, "base.safetensors", recipe.base) * dense, "scores": 0.0, "pool": 0.0}
    for candidate in candidates(recipe):
        _, record = checkpoint.load_checkpoint(run.path / "pool" / f"{candidate.name}.safetensors")
        pruning = record["pruning"]
        each[candidate.name] = pruning["macs"]
        macs["pool"] += _epochs(record, candidate.name, recipe.pool) * pruning["macs"]
        if recipe.pool.distill and recipe.pool.soft_labels == "each":
            macs["pool"] += _images(record["history"]) * dense
        if recipe.scores.search:
            images = per_epoch(pruning["images"], recipe.pool) * recipe.scores.epochs
            macs["scores"] += images * (attack_passes(recipe.pool.attack, recipe.pool) + SEARCHED) * dense
    rows = _joint_rows(run)
    team = sum(each[name] for name in run.joint()["members"])
    macs["joint"] = _epochs({"history": rows}, "log.jsonl: joint", recipe.joint) * team
    if recipe.joint.distill and recipe.joint.soft_labels == "each":
        macs["joint"] += _images(rows) * (dense if recipe.joint.teacher == "base" else team)
    if wanted_once(recipe):
        macs["pool"] += VIEWS * rows[0]["images"] * dense
    return {**macs, "total": sum(macs.values())}


def baseline_budget(macs: Mapping[str, float], *, pruned: bool) -> float:
    """Compute budget of a baseline, from the team's cost.

    Args:
        macs: as from ``run_cost``.
        pruned: the baseline starts from the base and has a score search of its own, as one candidate has.
    """
    return macs["total"] - macs["base"] - macs["scores"] if pruned else macs["total"]


def epochs_for_budget(macs: float, cfg: T, *, cost: float, images: int, teacher: float = 0) -> T:
    """The training with as many epochs as a budget pays for, at least one.

    Args:
        macs: the budget.
        cost: multiply-accumulates of one forward pass of the network to be trained.
        images: number of training images.
        teacher: multiply-accumulates of one forward pass of the network that gives soft labels.
    """

    def spent(epochs: int) -> float:
        return training_macs(with_epochs(cfg, epochs), cost=cost, images=images, teacher=teacher)

    epochs = max(1, int(macs / spent(1)))
    while spent(epochs + 1) <= macs:
        epochs += 1
    while epochs > 1 and spent(epochs) > macs:
        epochs -= 1
    return with_epochs(cfg, epochs)


def with_epochs(cfg: T, epochs: int) -> T:
    """Return the training with that many epochs, the same share of which finishes with ``pgd``.

    With ``wsd``, whose length is not known in advance, the same number of epochs does.
    """
    if cfg.schedule == "wsd":
        finish = min(cfg.finish_epochs, epochs)
    else:
        finish = round(cfg.finish_epochs * epochs / cfg.epochs) if cfg.epochs else 0
    return dataclasses.replace(cfg, epochs=epochs, finish_epochs=finish)


def training_macs(cfg: Training, *, cost: float, images: int, teacher: float = 0) -> float:
    """Multiply-accumulates of a training; arguments as in ``epochs_for_budget``."""
    first, finish = cfg.epochs - cfg.finish_epochs, cfg.finish_epochs
    passes = first * attack_passes(cfg.attack, cfg) + finish * attack_passes("pgd", cfg)
    return per_epoch(images, cfg) * (cost * (passes + cfg.epochs * TRAINED) + teacher * teacher_passes(cfg))


def per_epoch(images: int, cfg: Training) -> int:
    """Images that one epoch trains on: a last short batch is left out."""
    return max(1, images // cfg.batch) * min(cfg.batch, images)


def _macs(run: Run) -> int:
    return count_cost(run.base(), torch.zeros(1, *run.input.size))[1]


def _epochs(record: Mapping[str, Any], where: str, cfg: Training) -> float:
    """Sum of images × passes over the epochs of a record, each with the attack of that epoch."""
    rows = record.get("history")
    if not rows:
        raise CheckpointError(f"{where} has no record of its epochs, so its cost is unknown; give --epochs")
    return float(
        sum(row["images"] * (TRAINED + attack_passes(row["attack"], cfg)) for row in rows if row["images"])
    )


def _images(rows: Iterable[Mapping[str, Any]]) -> int:
    return sum(row["images"] for row in rows)


def _joint_rows(run: Run) -> list[dict[str, Any]]:
    run.joint()
    path = run.path / "log.jsonl"
    try:
        rows = [json.loads(line) for line in read_regular(path).decode().splitlines()]
        return [row for row in rows if row["stage"] == "joint"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); give --epochs") from error
