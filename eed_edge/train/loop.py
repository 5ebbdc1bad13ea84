"""The adversarial training loop that the base, every candidate and the joint stage share.

A batch depends on the state before it and on nothing else, so a run that is killed goes on from its
last checkpoint, also inside an epoch, as if nothing had happened.
"""

import bisect
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eed_edge.attacks import training_images
from eed_edge.errors import TrainingError
from eed_edge.recipe import Data, Training
from eed_edge.train.checkpointing import Checkpointing
from eed_edge.train.data import batches
from eed_edge.train.data.batches import Images
from eed_edge.train.state import (
    TrainingState,
    copy_weights,
    initial_state,
    move_average,
    random_state,
    resume_state,
    save_state,
    set_random_state,
    temporary_weights,
)
from eed_edge.train.system.devices import mixed_precision
from eed_edge.train.system.distributed import SINGLE_PROCESS, Processes
from eed_edge.train.system.epoch_log import TrainingCallback
from eed_edge.train.system.interruption import Interrupted, deferred, let_through
from eed_edge.train.system.time_limit import TimeLimit
from eed_edge.train.validation import (
    has_collapsed,
    out_of_patience,
    selection_score,
    validate,
)

Loss = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
"""``loss(net, clean, attacked, labels)``: a scalar."""


@dataclass(frozen=True)
class TrainingResult:
    """What training found: weights of the best and of the last epoch, and how it went."""

    best: dict[str, Tensor]
    last: dict[str, Tensor]
    history: list[dict[str, Any]]

    def told(self, what: str) -> str:
        """The summary as a sentence, for the log."""
        best, last = self.summary["best"], self.summary["last"]
        return (
            f"{what}: kept epoch {best['epoch'] + 1} with {best['attacked']:.3f} attacked on tune,"
            f" the last has {last['attacked']:.3f}, a gap of {self.summary['gap']:.3f}"
        )

    @property
    def summary(self) -> dict[str, Any]:
        """The best and the last epoch's accuracies on tune and their gap, for the record."""
        best, last = max(self.history, key=selection_score), self.history[-1]
        keep = ("epoch", "clean", "attacked")
        return {
            "best": {key: best[key] for key in keep},
            "last": {key: last[key] for key in keep},
            "gap": round(best["attacked"] - last["attacked"], 6),
        }


def fit(
    net: nn.Module,
    train: Images,
    tune: Images,
    *,
    cfg: Training,
    augment: Data,
    loss: Loss,
    seed: int,
    state: Path,
    on_record: TrainingCallback,
    time_limit: TimeLimit | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> TrainingResult:
    """Train ``net`` in place under attack; it ends with the weights of the best epoch.

    Args:
        train: what the gradients come from.
        tune: what chooses the best epoch, by attacked and, for less, clean accuracy.
        state: where the checkpoint of a run under way is kept; an existing one is continued.
        time_limit: when to stop at a checkpoint; None never does.
        processes: those that train this network together, each on its part of every batch.

    Raises:
        Interrupted: a signal has come; the checkpoint is written.
        Paused: the deadline is over and training is left; the checkpoint is written.
        TrainingError: the loss is not finite, or there are fewer images than one batch needs.
    """
    _check_parts(len(train), cfg, processes)
    if processes.size > 1 and train.images.is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(
        net.parameters(),
        lr=cfg.lr,
        momentum=cfg.momentum,
        nesterov=cfg.momentum > 0,
        weight_decay=cfg.weight_decay,
        fused=True,
    )
    now = (
        resume_state(state, net, optimiser, processes=processes)
        if state.exists()
        else initial_state(net, cfg)
    )
    checkpoints = Checkpointing(
        lambda: save_state(state, net, optimiser, now, processes=processes),
        time_limit=time_limit or TimeLimit(),
        processes=processes,
    )
    with deferred():
        try:
            while now.epoch < cfg.epochs and not out_of_patience(now.history, cfg):
                row = train_epoch(
                    net, train, optimiser, now, cfg=cfg, augment=augment, loss=loss, seed=seed,
                    on_record=on_record, checkpoints=checkpoints, processes=processes,
                )  # fmt: skip
                trained_s, started = now.trained_s, time.monotonic()
                checkpoints.before_validation()
                row |= _validate(net, tune, now, cfg=cfg, seed=seed, processes=processes)
                _update_best(net, optimiser, now, row, cfg, chance=_chance(tune))
                seconds = trained_s + time.monotonic() - started
                on_record(
                    {**row, "images_s": round(row["images"] / trained_s, 1), "seconds": round(seconds, 3)}
                )
                checkpoints.after_epoch(now.epoch, epochs=cfg.epochs)
        except Interrupted:
            checkpoints.write()
            raise
    fitted = TrainingResult(best=now.best, last=copy_weights(now.kept_weights(net)), history=now.history)
    net.load_state_dict(fitted.best)
    net.eval()
    return fitted


def _validate(
    net: nn.Module, tune: Images, now: TrainingState, *, cfg: Training, seed: int, processes: Processes
) -> dict[str, float]:
    """Accuracies on tune of the weights that are kept; alone, a process can be interrupted meanwhile."""
    with (
        temporary_weights(net, now.kept_weights(net)),
        let_through() if processes.size == 1 else nullcontext(),
    ):
        return validate(net, tune, cfg=cfg, seed=seed, processes=processes)._asdict()


def _chance(images: Images) -> float:
    """Accuracy of a guess."""
    return 1 / max(2, len(set(images.labels.tolist())))


def _check_parts(images: int, cfg: Training, processes: Processes) -> None:
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
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    now: TrainingState,
    row: dict[str, Any],
    cfg: Training,
    *,
    chance: float,
) -> None:
    """Keep the weights if the epoch is the best so far; go back to the best if training has collapsed."""
    if now.history and has_collapsed(row, now.history, cfg, chance=chance):
        row["guard"] = "attacked accuracy collapsed: back to the best weights, on with pgd"
        now.attack = "pgd"
        net.load_state_dict(now.best)
        now.average = copy_weights(now.best) if now.average else {}
        optimiser.state.clear()
    elif not now.history or selection_score(row) > max(map(selection_score, now.history)):
        now.best = copy_weights(now.kept_weights(net))
    now.history.append(row)
    now.epoch += 1
    now.batch, now.trained_s, now.local = 0, 0.0, {}


def train_epoch(
    net: nn.Module,
    train: Images,
    optimiser: torch.optim.Optimizer,
    now: TrainingState,
    *,
    cfg: Training,
    augment: Data,
    loss: Loss,
    seed: int,
    on_record: TrainingCallback,
    checkpoints: Checkpointing,
    processes: Processes = SINGLE_PROCESS,
) -> dict[str, Any]:
    """Train on every image once, or on those left of an interrupted epoch, in place; see ``fit``.

    Returns:
        The epoch's record, without accuracies.

    Raises:
        Interrupted: a signal has come; ``now`` is as after the last batch.
        Paused: the deadline is over.
        TrainingError: the loss is not finite.
    """
    attack = "pgd" if now.epoch >= cfg.epochs - cfg.finish_epochs else now.attack
    device = train.images.device
    generator = torch.Generator(device).manual_seed(seed * 1_000_003 + now.epoch)
    torch.manual_seed(seed * 1_000_003 + now.epoch)  # for layers that draw their own, such as dropout
    if now.local:
        set_random_state(device, now.local)
    steps = max(1, len(train) // cfg.batch)
    total = now.local.get("loss", torch.zeros(())).to(device)
    started = time.monotonic() - now.trained_s
    net.train()
    for images, labels in batches.epoch(
        train, batch=cfg.batch, augment=augment, generator=generator, part=processes.shard,
        first=now.batch, noise=now.local.get("noise"),
    ):  # fmt: skip
        progress = (now.epoch + now.batch / steps) / cfg.epochs
        for group in optimiser.param_groups:
            group["lr"] = cfg.lr * schedule(cfg, progress)
        with mixed_precision(device):
            attacked = training_images.make_adversarial(
                net, images, labels, attack=attack, cfg=cfg, generator=generator, progress=progress
            )
            value = loss(net, images, attacked, labels)
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        processes.all_reduce_mean_(parameter.grad for parameter in net.parameters())
        if cfg.clip:
            nn.utils.clip_grad_norm_(net.parameters(), cfg.clip)
        optimiser.step()
        total = total + value.detach()
        now.step += 1
        now.batch += 1
        now.trained_s = time.monotonic() - started
        now.local = {**random_state(device, generator), "loss": total}
        move_average(now, net, cfg.averaging)
        on_record({"epoch": now.epoch, "epochs": cfg.epochs, "batch": now.batch, "batches": steps})
        checkpoints.after_batch(
            now.batch, where=f"in epoch {now.epoch + 1} after batch {now.batch} of {steps}"
        )
    _average_norms(net, now, processes)
    mean = processes.all_reduce_sum(total).item() / steps / processes.size
    if not math.isfinite(mean):
        raise TrainingError(
            f"the loss is {mean} in epoch {now.epoch + 1}; lower lr (now {cfg.lr:g}) and train again"
        )
    return {
        "epoch": now.epoch,
        "epochs": cfg.epochs,
        "attack": attack,
        "loss": round(mean, 6),
        "lr": cfg.lr * schedule(cfg, (now.epoch + (steps - 1) / steps) / cfg.epochs),
        "images": steps * min(cfg.batch, len(train)),
    }


def _average_norms(net: nn.Module, now: TrainingState, processes: Processes) -> None:
    """Batch-norm statistics as the mean over processes, also those of the weight average."""
    buffers = dict(net.named_buffers())
    processes.all_reduce_mean_([*buffers.values(), *(now.average.get(name) for name in buffers)])


def schedule(cfg: Training, progress: float) -> float:
    """Share of the peak learning rate after that share of the training, in [0, 1]."""
    if cfg.schedule == "onecycle":
        rise = 0.2
        return max(progress / rise, 0.01) if progress < rise else (1 - progress) / (1 - rise)
    if cfg.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if cfg.schedule == "step":
        return (1.0, *cfg.factors)[bisect.bisect_right(cfg.drops, progress)]
    return 1.0
