"""The first two stages: the base, and the pool of candidates that are pruned from it."""

import logging
from pathlib import Path

from eed_edge.errors import CheckpointError
from eed_edge.pipeline.sitting import Sitting
from eed_edge.prune import pool as candidates
from eed_edge.recipe import Recipe
from eed_edge.train import base as training
from eed_edge.train import checkpoint, nets
from eed_edge.train.batches import Images, as_float
from eed_edge.train.nets import Classifier

log = logging.getLogger(__name__)


def base(sitting: Sitting) -> None:
    """Train the base; its best and its last weights stay."""
    run, cfg = sitting.run, sitting.run.recipe.base
    net, state = new_base(run.recipe, len(run.classes), sitting.train), run.path / "base.state"
    fitted = training.fit(
        net, sitting.train, sitting.tune, cfg=cfg, augment=run.recipe.data, seed=run.recipe.seed, state=state,
        watch=sitting.epochs("base"), deadline=sitting.deadline, processes=sitting.processes,
    )  # fmt: skip
    log.info("%s", fitted.told("base"))
    sitting.processes.wait()
    if not sitting.processes.first:
        return
    record = {"training": fitted.summary, "history": fitted.history}
    net.load_state_dict(fitted.last)
    checkpoint.save_net(run.path / "base-last.safetensors", net, record, compact=sitting.compact)
    net.load_state_dict(fitted.best)
    checkpoint.save_net(run.path / "base.safetensors", net, record, compact=sitting.compact)
    state.unlink(missing_ok=True)


def new_base(recipe: Recipe, classes: int, train_images: Images) -> Classifier:
    """The base before training, found to answer as a classifier does.

    Raises:
        CheckpointError: ``base.init`` is not of this recipe.
        NetworkError: the network cannot be built or run.
    """
    channels, net_cfg = train_images.images.shape[1], recipe.net
    if recipe.base.init:
        net, _ = checkpoint.load_net(Path(recipe.base.init))
        _check_init(net, recipe, classes, channels)
    else:
        net = nets.build(
            net_cfg.arch, classes=classes, channels=channels, width=net_cfg.width, seed=recipe.seed
        )
        training.set_normalisation(net, train_images)
    net.to(train_images.images.device)
    nets.check_logits(net, as_float(train_images.images[:2]), classes)
    return net


def pool(sitting: Sitting) -> None:
    """Make every candidate that is missing."""
    run, journal = sitting.run, sitting.journal
    watch = sitting.watch if sitting.processes.first else lambda _: None
    candidates.build(
        run.base().to(sitting.device),
        sitting.train,
        sitting.tune,
        recipe=run.recipe,
        folder=run.path / "pool",
        watch=lambda candidate: journal.watch(watch, stage="pool", part=candidate.name),
        compact=sitting.compact,
        deadline=sitting.deadline,
        processes=sitting.processes,
    )
    if sitting.processes.first:
        journal.absorb(run.path.glob("log-*.jsonl"))


def _check_init(net: Classifier, recipe: Recipe, classes: int, channels: int) -> None:
    wanted = {"arch": recipe.net.arch, "width": recipe.net.width, "classes": classes, "channels": channels}
    for key, value in wanted.items():
        if net.architecture[key] != value:
            raise CheckpointError(
                f"base.init: expected a network with {key} {value!r}, got {net.architecture[key]!r}"
            )
