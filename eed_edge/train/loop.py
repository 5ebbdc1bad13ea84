"""Adversarial training loop shared by the base, the candidates, the joint stage and the narrow baseline.

A batch depends only on the state before it, so a run that was killed resumes bitwise from its last
checkpoint, also inside an epoch.
"""

import logging
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from eed_edge.errors import TrainingError
from eed_edge.recipe import Training
from eed_edge.train.checkpointing import Checkpointing
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images
from eed_edge.train.epoch import TrainingLoss, train_epoch
from eed_edge.train.networks.build import arrange_memory
from eed_edge.train.schedule import has_ended, planned_epochs
from eed_edge.train.state import (
    TrainingState,
    copy_weights,
    initial_state,
    resume_state,
    save_state,
    temporary_weights,
)
from eed_edge.train.system.distributed import Processes
from eed_edge.train.system.epoch_choice import best_epoch, has_collapsed
from eed_edge.train.system.interruption import Interrupted, deferred, let_through
from eed_edge.train.validation import validate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """Weights of the best and of the last epoch, and a record of each epoch."""

    best: dict[str, Tensor]
    last: dict[str, Tensor]
    history: list[dict[str, Any]]

    @property
    def summary(self) -> dict[str, Any]:
        """Accuracies on tune of the best and of the last epoch, and the gap between them."""
        best, last = self.history[best_epoch(self.history)], self.history[-1]
        fields = [key for key in ("epoch", "clean", "attacked") if key in best]
        return {
            "best": {key: best[key] for key in fields},
            "last": {key: last[key] for key in fields},
            "gap": round(best[fields[-1]] - last[fields[-1]], 6),
        }


def fit(
    net: nn.Module,
    train: Images,
    tune: Images,
    *,
    cfg: Training,
    loss: TrainingLoss,
    context: TrainingContext,
) -> TrainingResult:
    """Train ``net`` in place under attack; it ends with the weights of the best epoch.

    Args:
        train: the images that the gradients are computed on.
        tune: the images that the best epoch is chosen on.
        context: an existing checkpoint at ``context.state`` is resumed.

    Raises:
        Interrupted: a signal has arrived; the checkpoint is written.
        Paused: the time limit has expired before the last epoch; the checkpoint is written.
        TrainingError: the loss is not finite, or there are fewer images than one batch needs.
    """
    processes = context.processes
    _check_parts(len(train), cfg, processes)
    if processes.size > 1 and train.images.is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
    arrange_memory(net)
    path = context.state
    if path and path.exists():
        state = resume_state(path, net, cfg, processes=processes)
    else:
        state = initial_state(net, cfg)
    checkpoints = Checkpointing(
        lambda: save_state(path, net, state, processes=processes) if path else None,
        time_limit=context.time_limit,
        processes=processes,
    )
    with deferred():
        try:
            while not has_ended(cfg, state.history):
                row = train_epoch(
                    net, train, state, cfg=cfg, loss=loss, context=context, checkpoints=checkpoints
                )
                trained_s, started = state.trained_s, time.monotonic()
                checkpoints.before_validation()
                row |= _validate(net, tune, state, cfg=cfg, context=context)
                _update_best(net, state, row, cfg, chance=_chance(tune))
                seconds = trained_s + time.monotonic() - started
                speed = round(row["images"] / trained_s, 1)
                context.record({**row, "images_s": speed, "seconds": round(seconds, 3)})
                checkpoints.after_epoch(state.epoch, epochs=planned_epochs(cfg, state.history))
        except Interrupted:
            checkpoints.write()
            raise
    result = TrainingResult(
        best=state.best, last=copy_weights(state.weights_to_save(net)), history=state.history
    )
    net.load_state_dict(result.best)
    net.eval()
    best, last = result.summary["best"], result.summary["last"]
    judged = "attacked" if cfg.attacked else "clean"
    log.info(
        "%s: kept epoch %d with %.3f %s on tune, the last has %.3f, a gap of %.3f",
        context.name, best["epoch"] + 1, best[judged], judged, last[judged], result.summary["gap"],
    )  # fmt: skip
    return result


def _validate(
    net: nn.Module, tune: Images, state: TrainingState, *, cfg: Training, context: TrainingContext
) -> dict[str, float]:
    """Accuracies on tune of the weights to keep; a single process may be interrupted meanwhile."""
    processes = context.processes
    with (
        temporary_weights(net, state.weights_to_save(net)),
        let_through() if processes.size == 1 else nullcontext(),
    ):
        return validate(net, tune, cfg=cfg, seed=context.seed, processes=processes).as_row()


def _chance(images: Images) -> float:
    """Accuracy of a random guess."""
    return 1 / max(2, len(set(images.labels.tolist())))


def _check_parts(images: int, cfg: Training, processes: Processes) -> None:
    """Refuse batches that cannot be shared out evenly over the processes."""
    if images < 2:
        raise TrainingError(f"expected at least 2 training images, got {images}; raise data.limit")
    if cfg.batch % processes.size or min(images, cfg.batch) // processes.size < 2:
        processes.raise_on_main(
            TrainingError(
                f"expected a batch that {processes.size} processes can share out evenly, two images or more"
                f" each, got {cfg.batch} of {images} images; change the stage's batch or --nproc-per-node"
            )
        )


def _update_best(
    net: nn.Module, state: TrainingState, row: dict[str, Any], cfg: Training, *, chance: float
) -> None:
    """Store the weights of a new best epoch; after a collapse go back to the best and on with PGD."""
    if state.history and has_collapsed(row, state.history, cfg, chance=chance):
        row["guard"] = "attacked accuracy collapsed: back to the best weights, on with pgd"
        state.attack = "pgd"
        net.load_state_dict(state.best)
        state.average = copy_weights(state.best) if state.average else {}
        state.optimiser.state.clear()
    elif best_epoch([*state.history, row]) == len(state.history):
        state.best = copy_weights(state.weights_to_save(net))
    state.history.append(row)
    state.epoch += 1
    state.batch, state.trained_s, state.local = 0, 0.0, {}
