"""The adversarial training loop that the base, every candidate and the joint stage share.

One epoch is a pure function of the weights before it, the seed and the epoch's number, so a run
that is killed goes on from its last checkpoint as if nothing had happened.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eed_edge.errors import CheckpointError, TrainingError
from eed_edge.recipe import Data, Training
from eed_edge.train import attacks, batches, checkpoint
from eed_edge.train.batches import Images

Loss = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
"""``loss(net, clean, attacked, labels)``: a scalar."""
Watch = Callable[[dict[str, Any]], None]
"""Called with a record after each batch (``batch``, ``batches``) and each epoch (``attacked``, …)."""
SAVE_EVERY_S = 5.0
JUDGE_BATCH = 500


class Judgement(NamedTuple):
    """Accuracies on tune, as fractions."""

    clean: float
    attacked: float


@dataclass(frozen=True)
class Fitted:
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
        best, last = max(self.history, key=_merit), self.history[-1]
        keep = ("epoch", "clean", "attacked")
        return {
            "best": {key: best[key] for key in keep},
            "last": {key: last[key] for key in keep},
            "gap": round(best["attacked"] - last["attacked"], 6),
        }


def _merit(row: dict[str, Any]) -> tuple[float, float]:
    """Attacked accuracy decides, clean accuracy breaks ties; the first of equals wins."""
    return row["attacked"], row["clean"]


@dataclass
class _State:
    """Everything that the next epoch depends on."""

    epoch: int
    step: int
    attack: str
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    history: list[dict[str, Any]] = field(default_factory=list)


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
    watch: Watch,
) -> Fitted:
    """Train ``net`` in place under attack; it ends with the weights of the best epoch.

    Args:
        train: what the gradients come from.
        tune: what chooses the best epoch, by attacked then clean accuracy.
        state: where the checkpoint of a run under way is kept; an existing one is continued.

    Raises:
        TrainingError: the loss is not finite, or there are fewer images than one batch needs.
    """
    if len(train) < 2:
        raise TrainingError(f"expected at least 2 training images, got {len(train)}; raise data.limit")
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(
        net.parameters(),
        lr=cfg.lr,
        momentum=cfg.momentum,
        nesterov=cfg.momentum > 0,
        weight_decay=cfg.weight_decay,
    )
    now = _resume(state, net, optimiser) if state.exists() else _begin(net, cfg)
    saved = time.monotonic()
    while now.epoch < cfg.epochs and not _out_of_patience(now, cfg):
        started = time.monotonic()
        row = _one_epoch(
            net, train, optimiser, now, cfg=cfg, augment=augment, loss=loss, seed=seed, watch=watch
        )
        with _Weights(net, _judged(net, now)):
            row |= judge(net, tune, cfg=cfg, seed=seed)._asdict()
        row["seconds"] = round(time.monotonic() - started, 3)
        _settle(net, optimiser, now, row, cfg, chance=1 / max(2, len(set(tune.labels.tolist()))))
        watch(row)
        if time.monotonic() - saved > SAVE_EVERY_S:
            _save(state, net, optimiser, now)
            saved = time.monotonic()
    fitted = Fitted(best=now.best, last=_copy(_judged(net, now)), history=now.history)
    net.load_state_dict(fitted.best)
    net.eval()
    return fitted


def _judged(net: nn.Module, now: _State) -> dict[str, Tensor]:
    """The weights that are judged and kept: the average, or the network's own without one."""
    return now.average or net.state_dict()


def _settle(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    now: _State,
    row: dict[str, Any],
    cfg: Training,
    *,
    chance: float,
) -> None:
    """Keep the weights if the epoch is the best so far; go back to the best if training has collapsed."""
    if not now.history or _merit(row) > max(map(_merit, now.history)):
        now.best = _copy(_judged(net, now))
    elif _collapsed(row, now, cfg, chance):
        row["guard"] = "attacked accuracy collapsed: back to the best weights, on with pgd"
        now.attack = "pgd"
        net.load_state_dict(now.best)
        now.average = _copy(now.best) if now.average else {}
        optimiser.state.clear()
    now.history.append(row)
    now.epoch += 1


def judge(net: nn.Module, tune: Images, *, cfg: Training, seed: int) -> Judgement:
    """Clean and PGD accuracy of ``net`` on the first ``judge_images`` of tune, in evaluation mode."""
    tune = tune[slice(0, cfg.judge_images)]
    generator = torch.Generator(tune.images.device).manual_seed(seed)
    right = torch.zeros(2, device=tune.images.device)
    eps = cfg.eps_255 / 255
    with attacks.frozen(net):
        for images, labels in batches.in_order(tune, JUDGE_BATCH):
            attacked = attacks.pgd(
                net, images, labels, eps=eps, step=eps / 4, steps=cfg.judge_steps, generator=generator
            )
            with torch.no_grad():
                right += torch.stack([(net(x).argmax(1) == labels).sum() for x in (images, attacked)])
    clean, robust = (right / len(tune)).tolist()
    return Judgement(round(clean, 6), round(robust, 6))


def _one_epoch(
    net: nn.Module,
    train: Images,
    optimiser: torch.optim.Optimizer,
    now: _State,
    *,
    cfg: Training,
    augment: Data,
    loss: Loss,
    seed: int,
    watch: Watch,
) -> dict[str, Any]:
    device = train.images.device
    generator = torch.Generator(device).manual_seed(seed * 1_000_003 + now.epoch)
    torch.manual_seed(seed * 1_000_003 + now.epoch)  # for layers that draw their own, such as dropout
    steps = max(1, len(train) // cfg.batch)
    total = torch.zeros((), device=device)
    net.train()
    for i, (images, labels) in enumerate(
        batches.epoch(train, batch=cfg.batch, augment=augment, generator=generator)
    ):
        rate = cfg.lr * schedule(cfg.schedule, (now.epoch + i / steps) / cfg.epochs)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            attacked = attacks.craft(net, images, labels, attack=now.attack, cfg=cfg, generator=generator)
            value = loss(net, images, attacked, labels)
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        if cfg.clip:
            nn.utils.clip_grad_norm_(net.parameters(), cfg.clip)
        optimiser.step()
        total += value.detach()
        now.step += 1
        _average(now, net, cfg.averaging)
        watch({"epoch": now.epoch, "epochs": cfg.epochs, "batch": i + 1, "batches": steps})
    mean = total.item() / steps
    if not math.isfinite(mean):
        raise TrainingError(
            f"the loss is {mean} in epoch {now.epoch + 1}; lower lr (now {cfg.lr:g}) and train again"
        )
    return {
        "epoch": now.epoch,
        "epochs": cfg.epochs,
        "attack": now.attack,
        "loss": round(mean, 6),
        "lr": rate,
        "images": steps * min(cfg.batch, len(train)),
    }


def schedule(name: str, progress: float) -> float:
    """Share of the peak learning rate after that share of the training, in [0, 1]."""
    if name == "onecycle":
        rise = 0.2
        return max(progress / rise, 0.01) if progress < rise else (1 - progress) / (1 - rise)
    if name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if name == "step":
        return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01
    return 1.0


def _begin(net: nn.Module, cfg: Training) -> _State:
    return _State(0, 0, cfg.attack, _copy(net.state_dict()) if cfg.averaging else {}, {})


def _average(now: _State, net: nn.Module, decay: float) -> None:
    """Move the weight average; a young average moves faster."""
    if not decay:
        return
    share = 1 - min(decay, (1 + now.step) / (10 + now.step))
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                now.average[name].lerp_(tensor, share)
            else:
                now.average[name].copy_(tensor)


def _collapsed(row: dict[str, Any], now: _State, cfg: Training, chance: float) -> bool:
    """Catastrophic overfitting: attacked accuracy falls, after it was there, and clean accuracy does not."""
    best = max(now.history, key=_merit)
    fallen = row["attacked"] < cfg.guard * best["attacked"] and row["clean"] > 0.9 * best["clean"]
    return now.attack != "pgd" and best["attacked"] > 1.5 * chance and fallen


def _out_of_patience(now: _State, cfg: Training) -> bool:
    if not cfg.patience or not now.history:
        return False
    best = max(range(len(now.history)), key=lambda i: (_merit(now.history[i]), -i))
    return len(now.history) - 1 - best >= cfg.patience


class _Weights:
    """The network with other weights for a moment."""

    def __init__(self, net: nn.Module, weights: dict[str, Tensor]) -> None:
        self.net, self.weights = net, weights

    def __enter__(self) -> None:
        self.own = _copy(self.net.state_dict())
        self.net.load_state_dict(self.weights)

    def __exit__(self, *_: object) -> None:
        self.net.load_state_dict(self.own)


def _copy(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


def _save(path: Path, net: nn.Module, optimiser: torch.optim.Optimizer, now: _State) -> None:
    momenta = {
        str(i): optimiser.state[parameter]["momentum_buffer"]
        for i, parameter in enumerate(optimiser.param_groups[0]["params"])
        if optimiser.state.get(parameter, {}).get("momentum_buffer") is not None
    }
    parts = {"net": net.state_dict(), "average": now.average, "best": now.best, "momentum": momenta}
    tensors = {
        f"{part}/{name}": tensor for part, weights in parts.items() for name, tensor in weights.items()
    }
    record = {"epoch": now.epoch, "step": now.step, "attack": now.attack, "history": now.history}
    checkpoint.save(path, tensors, record)


def _resume(path: Path, net: nn.Module, optimiser: torch.optim.Optimizer) -> _State:
    tensors, record = checkpoint.load(path)
    device = next(net.parameters()).device
    parts: dict[str, dict[str, Tensor]] = {"net": {}, "average": {}, "best": {}, "momentum": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor.to(device)
    try:
        net.load_state_dict(parts["net"])
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: the weights do not fit the network; delete the file and train again"
        ) from error
    for i, parameter in enumerate(optimiser.param_groups[0]["params"]):
        if str(i) in parts["momentum"]:
            buffer = torch.empty_like(parameter, memory_format=torch.preserve_format)
            optimiser.state[parameter]["momentum_buffer"] = buffer.copy_(parts["momentum"][str(i)])
    del record["format"]
    return _State(average=parts["average"], best=parts["best"], **record)
