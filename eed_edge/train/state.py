"""A training under way: everything that its next epoch depends on, in memory and on disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from eed_edge.errors import CheckpointError
from eed_edge.recipe import Training
from eed_edge.train.networks import checkpoint
from eed_edge.train.system.distributed import SINGLE_PROCESS, Processes

RECORDED = ("epoch", "batch", "step", "attack", "history", "trained_s")
"""Fields of ``State`` that a checkpoint keeps as JSON; the others are tensors."""


@dataclass
class TrainingState:
    """Everything that the next batch depends on, beside the network and the optimiser.

    epoch, batch: epochs done, and batches done of the one under way.
    step: batches done in all.
    attack: what attacks the training images; the guard may have changed the recipe's.
    average: the weight average; empty without one.
    best: weights of the best epoch.
    history: a record of each epoch done.
    trained_s: seconds of training in the epoch under way.
    local: what this process alone has of that epoch: random states and the sum of its losses.
    """

    epoch: int
    step: int
    attack: str
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    history: list[dict[str, Any]] = field(default_factory=list)
    batch: int = 0
    trained_s: float = 0.0
    local: dict[str, Tensor] = field(default_factory=dict)

    def kept_weights(self, net: nn.Module) -> dict[str, Tensor]:
        """The weights that are judged and kept: the average, or the network's own without one."""
        return self.average or net.state_dict()


def initial_state(net: nn.Module, cfg: Training) -> TrainingState:
    """Before the first epoch."""
    return TrainingState(0, 0, cfg.attack, copy_weights(net.state_dict()) if cfg.averaging else {}, {})


def move_average(now: TrainingState, net: nn.Module, decay: float) -> None:
    """Move the weight average; a young average moves faster."""
    if not decay:
        return
    share = 1 - min(decay, (1 + now.step) / (10 + now.step))
    weights = net.state_dict()
    floats = [name for name, tensor in weights.items() if tensor.is_floating_point()]
    for name in weights.keys() - floats:
        now.average[name].copy_(weights[name])
    move = get_ema_multi_avg_fn(1 - share)  # type: ignore[no-untyped-call]
    move([now.average[name] for name in floats], [weights[name] for name in floats], None)


@contextmanager
def temporary_weights(net: nn.Module, weights: dict[str, Tensor]) -> Iterator[None]:
    """Give the network other weights inside the block."""
    own = copy_weights(net.state_dict())
    try:
        net.load_state_dict(weights)
        yield
    finally:
        net.load_state_dict(own)


def copy_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of their own, which no training moves."""
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


def random_state(device: torch.device, generator: torch.Generator) -> dict[str, Tensor]:
    """States of every random generator that training draws from, as uint8 tensors."""
    states = {"noise": generator.get_state(), "torch": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(device: torch.device, states: dict[str, Tensor]) -> None:
    """Put torch's own generators back; the one for noise is set where the epoch's order has been drawn."""
    torch.set_rng_state(states["torch"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def save_state(
    path: Path,
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    now: TrainingState,
    *,
    processes: Processes = SINGLE_PROCESS,
) -> None:
    """Write the checkpoint of a training under way; all processes call it, the first one writes."""
    momenta = {
        str(i): optimiser.state[parameter]["momentum_buffer"]
        for i, parameter in enumerate(optimiser.param_groups[0]["params"])
        if optimiser.state.get(parameter, {}).get("momentum_buffer") is not None
    }
    parts = {
        "net": net.state_dict(), "average": now.average, "best": now.best, "momentum": momenta,
        "local": _gathered(net, now, processes),
    }  # fmt: skip
    if processes.is_main:
        tensors = {
            f"{part}/{name}": tensor for part, weights in parts.items() for name, tensor in weights.items()
        }
        checkpoint.save_checkpoint(path, tensors, {name: getattr(now, name) for name in RECORDED})


def _gathered(net: nn.Module, now: TrainingState, processes: Processes) -> dict[str, Tensor]:
    """What each process has of its own inside an epoch, by rank: ``local`` and batch-norm statistics."""
    if not now.batch:
        return {}
    own = {f"local/{name}": tensor.cpu() for name, tensor in now.local.items()}
    if processes.size > 1:
        for name, buffer in net.named_buffers():
            own[f"net/{name}"] = buffer.cpu()
            if now.average:
                own[f"average/{name}"] = now.average[name].cpu()
    return {
        f"{rank}/{name}": tensor
        for rank, tensors in enumerate(processes.all_gather(own))
        for name, tensor in tensors.items()
    }


def resume_state(
    path: Path, net: nn.Module, optimiser: torch.optim.Optimizer, *, processes: Processes = SINGLE_PROCESS
) -> TrainingState:
    """Go back to a checkpoint, in place.

    An epoch that was interrupted goes on bitwise with as many processes as before; with another
    number it goes on with other noise.

    Raises:
        CheckpointError: it is missing, cut short or of another network.
    """
    tensors, record = checkpoint.load_checkpoint(path)
    device = next(net.parameters()).device
    parts: dict[str, dict[str, Tensor]] = {"net": {}, "average": {}, "best": {}, "momentum": {}, "local": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor if part == "local" else tensor.to(device)
    own = _own_part(parts["local"], processes)
    for part in ("net", "average"):
        parts[part] |= {name: tensor.to(device) for name, tensor in own.get(part, {}).items()}
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
    return TrainingState(average=parts["average"], best=parts["best"], local=own.get("local", {}), **record)


def _own_part(gathered: dict[str, Tensor], processes: Processes) -> dict[str, dict[str, Tensor]]:
    """What this process had gathered, by kind; nothing when there were more or fewer processes."""
    own: dict[str, dict[str, Tensor]] = {}
    for name, tensor in gathered.items():
        rank, kind, rest = name.split("/", 2)
        if int(rank) == processes.rank:
            own.setdefault(kind, {})[rest] = tensor
    size = len({name.partition("/")[0] for name in gathered})
    return own if size == processes.size else {}
