"""One epoch of adversarial training: attack, loss, optimiser step and checkpoint for every batch."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from eed_edge.attacks import training_images
from eed_edge.errors import TrainingError
from eed_edge.recipe import Training
from eed_edge.seeds import epoch_seed
from eed_edge.train.checkpointing import Checkpointing
from eed_edge.train.context import TrainingContext
from eed_edge.train.data import batches
from eed_edge.train.data.batches import Images
from eed_edge.train.schedule import learning_rate, planned_epochs
from eed_edge.train.state import TrainingState, move_average, random_state, set_random_state
from eed_edge.train.system.devices import mixed_precision
from eed_edge.train.system.distributed import Processes

TrainingLoss = Callable[[nn.Module, Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""``loss(net, clean, attacked, labels, soft)``: a scalar; ``soft`` are stored logits of a teacher."""


class _BatchLoss(nn.Module):
    """The loss of one batch as a module, so that DistributedDataParallel can wrap network and loss."""

    def __init__(self, net: nn.Module, loss: TrainingLoss) -> None:
        super().__init__()
        self.net, self.loss = net, loss

    def forward(self, clean: Tensor, attacked: Tensor, labels: Tensor, soft: Tensor | None) -> Tensor:
        return self.loss(self.net, clean, attacked, labels, soft)


def train_epoch(
    net: nn.Module,
    train: Images,
    state: TrainingState,
    *,
    cfg: Training,
    loss: TrainingLoss,
    context: TrainingContext,
    checkpoints: Checkpointing,
) -> dict[str, Any]:
    """Train ``net`` in place on every image once, or on the rest of an interrupted epoch.

    Returns:
        The epoch's record, without accuracies.

    Raises:
        Interrupted: a signal has arrived; ``state`` is as after the last batch.
        Paused: the time limit has expired.
        TrainingError: the loss is not finite.
    """
    epochs = planned_epochs(cfg, state.history)
    attack = "pgd" if state.epoch >= epochs - cfg.finish_epochs else state.attack
    device, processes = train.images.device, context.processes
    seed = epoch_seed(context.seed, state.epoch)
    generator = torch.Generator(device).manual_seed(seed)
    torch.manual_seed(seed)  # for layers that draw numbers, such as dropout
    if state.local:
        set_random_state(device, state.local)
    steps = max(1, len(train) // cfg.batch)
    summed_from = 0 if "loss" in state.local else state.batch
    total = state.local.get("loss", torch.zeros(())).to(device)
    started = time.monotonic() - state.trained_s
    net.train()
    batch_loss = processes.averaging_gradients(_BatchLoss(net, loss))
    for images, labels, soft in batches.epoch(
        train, batch=cfg.batch, augment=context.augment, generator=generator, part=processes.shard,
        first=state.batch, noise=state.local.get("noise"),
    ):  # fmt: skip
        progress = (state.epoch + state.batch / steps) / cfg.epochs
        with mixed_precision(device):
            attacked = training_images.make_adversarial(
                net, images, labels, attack=attack, cfg=cfg, generator=generator, progress=progress
            )
            with processes.peer_errors():
                value = batch_loss(images, attacked, labels, soft)
        rate = learning_rate(cfg, state.history, state.batch / steps)
        _optimiser_step(net, state.optimiser, value, cfg, rate=rate, processes=processes)
        total = total + value.detach()
        state.step += 1
        state.batch += 1
        state.trained_s = time.monotonic() - started
        state.local = {**random_state(device, generator), "loss": total}
        move_average(state, net, cfg.averaging)
        context.record({"epoch": state.epoch, "epochs": epochs, "batch": state.batch, "batches": steps})
        where = f"in epoch {state.epoch + 1} after batch {state.batch} of {steps}"
        checkpoints.after_batch(state.batch, where=where)
    _average_norms(net, state, processes)
    return {
        "epoch": state.epoch,
        "epochs": epochs,
        "attack": attack,
        "loss": round(_mean_loss(total, steps - summed_from, state, cfg, processes), 6),
        "lr": cfg.lr * learning_rate(cfg, state.history, (steps - 1) / steps),
        "images": steps * min(cfg.batch, len(train)),
    }


def _optimiser_step(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: Tensor,
    cfg: Training,
    *,
    rate: float,
    processes: Processes,
) -> None:
    """One SGD step on ``loss`` at ``rate`` of the peak; gradients are clipped."""
    for group in optimiser.param_groups:
        group["lr"] = cfg.lr * rate
    optimiser.zero_grad(set_to_none=True)
    with processes.peer_errors():
        loss.backward()  # type: ignore[no-untyped-call]
    if cfg.clip:
        nn.utils.clip_grad_norm_(net.parameters(), cfg.clip)
    optimiser.step()


def _mean_loss(
    total: Tensor, batches: int, state: TrainingState, cfg: Training, processes: Processes
) -> float:
    """The mean over the batches whose losses are in ``total``."""
    mean = processes.all_reduce_sum(total).item() / max(1, batches) / processes.size
    if not math.isfinite(mean):
        raise TrainingError(
            f"the loss is {mean} in epoch {state.epoch + 1}; lower lr (now {cfg.lr:g}) and train again"
        )
    return mean


def _average_norms(net: nn.Module, state: TrainingState, processes: Processes) -> None:
    """Average batch-norm statistics over processes, in the network and in the weight average."""
    buffers = dict(net.named_buffers())
    processes.all_reduce_mean_([*buffers.values(), *(state.average.get(name) for name in buffers)])
