"""Train a team of small networks from Python."""

import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import nn

import eed_edge
from eed_edge import arguments, pipeline
from eed_edge.examine import examine_before_training
from eed_edge.examine.training_needs import training_needs
from eed_edge.pipeline.run_stages import STAGES, StageCallback
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.recipe import Recipe
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.data.splits import ImagesSource, Splits, splits_for_recipe
from eed_edge.train.networks.build import Classifier
from eed_edge.train.run_folder import Run
from eed_edge.train.system.epoch_log import TrainingCallback
from eed_edge.train.system.time_limit import TimeLimit
from eed_edge.workflow.recipe_choice import Overrides, RecipeLike, choose_recipe

log = logging.getLogger(__name__)
SHORT_WORK = 1e11
"""Multiply-accumulates of the base's forward passes up to which no estimate is worth its seconds."""


def train_team(
    recipe: RecipeLike = None,
    data: ImagesSource = None,
    *,
    run: str | os.PathLike[str],
    overrides: Overrides = (),
    network: nn.Module | None = None,
    until: str = "joint",
    device: str = "auto",
    max_minutes: float | None = None,
    compact: bool = False,
    callbacks: Sequence[TrainingCallback] = (),
    on_stage_end: StageCallback = lambda stage, run: None,
) -> Run:
    """Train a team: base, pool of pruned candidates, selection, joint training; as ``eed-edge train`` does.

    Called again with the same arguments, a training that was stopped goes on; one that is finished returns
    at once.

    Args:
        recipe: a name such as ``digits-resnet18``, the path of a TOML file, its fields as nested dicts, or a
            ``Recipe``. None takes ``digits-resnet18`` without ``data``, and drafts a recipe for other images
            as ``eed-edge init`` does.
        data: the path of a folder or NPZ file, as after ``--data``; or images in memory: ``(images, labels)``
            with images ``(n, h, w)``, ``(n, h, w, c)`` or ``(n, c, h, w)``, uint8 or floats in [0, 1], and
            labels ``(n,)``; the same with the classes' names as a third; a ``torch.utils.data.Dataset``; or a
            dict of these with ``train`` and perhaps ``val`` and ``test``. None: the recipe's set needs none.
        run: folder of the run, made if it is missing.
        overrides: fields of the recipe, such as ``{"base.epochs": 2}``.
        network: the base, from images in [0, 1] ``(n, c, h, w)`` to logits ``(n, classes)``, with the weights
            to start from. It is copied. The images are normalised before it, by their own mean and deviation;
            for another normalisation set ``net.mean`` and ``net.std``, ``[0.0]`` and ``[1.0]`` for none. Give
            it again to ``export_bundle`` and ``evaluate_bundle`` in another process.
        until: the last stage: ``base``, ``pool``, ``select`` or ``joint``.
        device: ``auto``, ``cpu`` or ``cuda``.
        max_minutes: pause after this long; None does not.
        compact: store base and candidates in half precision.
        callbacks: each is called with a dict after every batch and epoch.
        on_stage_end: called with the name of every stage that ends, and the run.

    Returns:
        The run; ``run.path`` is its folder.

    Raises:
        CheckpointError: the folder holds another run or a damaged one, or another process works on it.
        DataError: images that are missing, damaged or unfit.
        InputError: no such stage, or a time below 0.
        DeviceError: the device or a package is missing, or memory is too small.
        NetworkError: the network cannot be trained, pruned or exported.
        RecipeError: an unknown recipe or key, or a value out of range.
        Paused: ``max_minutes`` are over; call again to go on.
    """
    arguments.one_of("until", until, STAGES)
    if max_minutes is not None:
        arguments.number_from_0("max_minutes", max_minutes)
    _warn_of_spinning()
    resolved = choose_recipe(recipe, data, overrides=overrides, network=network)
    splits = splits_for_recipe(resolved, data)
    log.info(
        "%s: %d training images %s, %d classes, tune %d, calib %d",
        resolved.name, len(splits.train), splits.input.size, len(splits.classes), len(splits.tune),
        len(splits.calib),
    )  # fmt: skip
    context = TrainingContext(
        callbacks=tuple(callbacks), time_limit=TimeLimit(max_minutes), device=device, compact=compact
    )
    return pipeline.train(
        resolved,
        splits,
        Path(run),
        context=context,
        until=until,
        examine=partial(_examine, splits=splits),
        on_stage_end=on_stage_end,
    )


def _examine(net: Classifier, few: Images, recipe: Recipe, *, splits: Splits) -> None:
    """Refuse a network that could not be trained, pruned or exported; log what training it needs."""
    examination = examine_before_training(net, few, recipe)
    examination.raise_if_faulty()
    for note in examination.notes:
        log.info("network: %s", note)
    _, macs = count_cost(net, as_float(few.images[:1]))
    if examination.dry is not None and macs * len(splits.train) * recipe.base.epochs > SHORT_WORK:
        needs = training_needs(
            net, examination.dry, few, recipe, train=len(splits.train), tune=len(splits.tune)
        )
        log.info("training takes %s", needs.line)


def _warn_of_spinning() -> None:
    """Say that torch was loaded too early for ``GOMP_SPINCOUNT``."""
    if eed_edge.TORCH_CAME_FIRST and sys.platform == "linux":  # where torch has GNU's OpenMP
        log.warning(
            "torch was imported before eed_edge: its idle threads spin, which makes training several times"
            " slower beside other programs; import eed_edge first, or set GOMP_SPINCOUNT=10000"
        )
