"""Base stage: build or load the base, train it under attack and save it."""

import logging
from pathlib import Path

from eed_edge.atomic_files import write_json
from eed_edge.errors import RecipeError
from eed_edge.pipeline.run_notes import base_note
from eed_edge.pipeline.stage_context import StageContext
from eed_edge.recipe import Recipe
from eed_edge.report.notes_file import write_notes
from eed_edge.train import base
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.networks import build, checkpoint
from eed_edge.train.networks.build import Classifier
from eed_edge.train.networks.pretrained import Pretrained, load_pretrained
from eed_edge.train.networks.resize import resize_to
from eed_edge.train.run_folder import read_json

log = logging.getLogger(__name__)
NEAR_CHANCE = 0.1
"""Warn about pretrained weights whose accuracy is less than this share of the way from chance to 1."""


def make_base(context: StageContext) -> None:
    """Train the base; save the weights of its best and of its last epoch."""
    run, cfg = context.run, context.run.recipe.base
    state, source = run.path / "base.state", run.path / "base-init.json"
    net, pretrained = new_base(run.recipe, len(run.classes), context.train, state)
    if pretrained:
        _log_pretrained(pretrained, context)
        if context.processes.is_main:
            write_json(source, {"file": Path(cfg.init).name, "sha256": pretrained.sha256})
    training = context.training_of("base", seed=run.recipe.seed, state=state)
    if cfg.epochs:
        result = base.train_base(net, context.train, context.tune, cfg=cfg, context=training)
    else:
        result = base.validate_untrained(net, context.tune, cfg=cfg, context=training)
        training.time_limit.record_progress()
    context.processes.barrier()
    if not context.processes.is_main:
        return
    note = base_note(run.recipe, result.summary["best"]["clean"], context.tune)
    for text in filter(None, note.values()):
        log.warning("%s", text)
    write_notes(run.path, note)
    record = {"training": result.summary, "history": result.history}
    if cfg.init:  # a run begun by an older version has no record of its file
        record["init"] = read_json(source) if source.exists() else {"file": Path(cfg.init).name}
    net.load_state_dict(result.last)
    checkpoint.save_network(run.path / "base-last.safetensors", net, record, compact=training.compact)
    net.load_state_dict(result.best)
    checkpoint.save_network(run.path / "base.safetensors", net, record, compact=training.compact)
    state.unlink(missing_ok=True)
    source.unlink(missing_ok=True)


def new_base(
    recipe: Recipe, classes: int, train_images: Images, state: Path
) -> tuple[Classifier, Pretrained | None]:
    """Build the base before training, check its logits, and read ``base.init`` if the recipe names it.

    Args:
        state: checkpoint of a training in progress; if it exists, ``base.init`` is not read again.

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
            base.set_normalisation(net, train_images)
    net.to(train_images.images.device)
    build.choose_memory_format(net, as_float(train_images.images[:2]))
    build.check_logits(net, as_float(train_images.images[:2]), classes)
    return net, pretrained


def _load_state(net: Classifier, state: Path) -> None:
    """Load the weights of a checkpoint in progress; its widths are those of ``base.init``."""
    tensors, _ = checkpoint.load_checkpoint(state)
    weights = {name.removeprefix("net/"): t for name, t in tensors.items() if name.startswith("net/")}
    resize_to(net, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    net.load_state_dict(weights)


def _log_pretrained(pretrained: Pretrained, context: StageContext) -> None:
    """Log how the weights were matched and their clean accuracy before training."""
    for note in pretrained.notes:
        log.info("%s", note)
    accuracy = base.clean_accuracy(pretrained.net, context.tune, processes=context.processes)
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
