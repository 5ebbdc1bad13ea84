"""The first two stages: the base, and the pool of candidates that are pruned from it."""

import logging
from pathlib import Path

from eed_edge.atomic_files import write_json
from eed_edge.errors import RecipeError
from eed_edge.prune import pool as candidates
from eed_edge.recipe import Recipe
from eed_edge.train import base as training
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.networks import build, checkpoint
from eed_edge.train.networks.build import Classifier
from eed_edge.train.networks.pretrained import Pretrained, load_pretrained
from eed_edge.train.run_folder import read_json

log = logging.getLogger(__name__)
NEAR_CHANCE = 0.1
"""Pretrained weights this little above chance, as a share of what is left, are warned of."""


def base(context: TrainingContext) -> None:
    """Train the base; its best and its last weights stay."""
    run, cfg = context.run, context.run.recipe.base
    state, source = run.path / "base.state", run.path / "base-init.json"
    net, pretrained = new_base(run.recipe, len(run.classes), context.train, state)
    if pretrained:
        _log_pretrained(pretrained, context)
        if context.processes.is_main:
            write_json(source, {"file": Path(cfg.init).name, "sha256": pretrained.sha256})
    if cfg.epochs:
        fitted = training.train_base(
            net, context.train, context.tune, cfg=cfg, augment=run.recipe.data, seed=run.recipe.seed,
            state=state, on_record=context.epoch_callback("base"), time_limit=context.time_limit,
            processes=context.processes,
        )  # fmt: skip
        log.info("%s", fitted.told("base"))
    else:
        fitted = training.validate_untrained(
            net, context.tune, cfg=cfg, seed=run.recipe.seed, watch=context.epoch_callback("base"),
            processes=context.processes,
        )  # fmt: skip
        context.time_limit.record_progress()
    context.processes.barrier()
    if not context.processes.is_main:
        return
    record = {"training": fitted.summary, "history": fitted.history}
    if cfg.init:  # a run begun by an older version has no record of its file
        record["init"] = read_json(source) if source.exists() else {"file": Path(cfg.init).name}
    net.load_state_dict(fitted.last)
    checkpoint.save_network(run.path / "base-last.safetensors", net, record, compact=context.compact)
    net.load_state_dict(fitted.best)
    checkpoint.save_network(run.path / "base.safetensors", net, record, compact=context.compact)
    state.unlink(missing_ok=True)
    source.unlink(missing_ok=True)


def new_base(
    recipe: Recipe, classes: int, train_images: Images, state: Path
) -> tuple[Classifier, Pretrained | None]:
    """The base before training, found to answer as a classifier does, and what was read from ``base.init``.

    Args:
        state: checkpoint of a training under way; with one, ``base.init`` is not read any more.

    Raises:
        CheckpointError: the weights of ``base.init`` do not fit the recipe.
        NetworkError: the network cannot be built or run.
        RecipeError: ``net.mean`` has another number of channels than the images.
    """
    channels, cfg = train_images.images.shape[1], recipe.net
    if len(cfg.mean) not in (0, 1, channels):
        raise RecipeError(
            f"net.mean and net.std: expected one number or {channels}, one per channel, got {len(cfg.mean)};"
            " change the recipe"
        )
    pretrained = None
    if recipe.base.init and not state.exists():
        pretrained = load_pretrained(Path(recipe.base.init), cfg, classes=classes, channels=channels)
        net = pretrained.net
    else:
        net = build.build_network(
            cfg.arch, classes=classes, channels=channels, width=cfg.width, seed=recipe.seed
        )
        if recipe.base.init:
            _load_state(net, state)
        elif cfg.mean:
            net.normalise.set(cfg.mean, cfg.std)
        else:
            training.set_normalisation(net, train_images)
    net.to(train_images.images.device)
    build.check_logits(net, as_float(train_images.images[:2]), classes)
    return net, pretrained


def _load_state(net: Classifier, state: Path) -> None:
    """The weights of the checkpoint under way, in place; its widths are those that ``base.init`` had."""
    tensors, _ = checkpoint.load_checkpoint(state)
    weights = {name.removeprefix("net/"): t for name, t in tensors.items() if name.startswith("net/")}
    build.resize_to(net, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    net.load_state_dict(weights)


def _log_pretrained(pretrained: Pretrained, context: TrainingContext) -> None:
    """What was loaded, and how it does before training."""
    for note in pretrained.notes:
        log.info("%s", note)
    accuracy = training.clean_accuracy(pretrained.net, context.tune, processes=context.processes)
    chance = 1 / len(context.run.classes)
    log.info(
        "base.init %s: clean accuracy on tune before training %.3f (%d images)",
        Path(context.run.recipe.base.init).name, accuracy, len(context.tune),
    )  # fmt: skip
    if accuracy < chance + NEAR_CHANCE * (1 - chance):
        log.warning(
            "base.init: that is near chance (%.3f); check net.mean, net.std and the order of the classes",
            chance,
        )


def pool(context: TrainingContext) -> None:
    """Make every candidate that is missing."""
    run, journal = context.run, context.log
    watch = context.on_record if context.processes.is_main else lambda _: None
    candidates.build_pool(
        run.base().to(context.device),
        context.train,
        context.tune,
        recipe=run.recipe,
        folder=run.path / "pool",
        on_record=lambda candidate: journal.callback(watch, stage="pool", part=candidate.name),
        compact=context.compact,
        time_limit=context.time_limit,
        processes=context.processes,
    )
    if context.processes.is_main:
        journal.merge_from(run.path.glob("log-*.jsonl"))
