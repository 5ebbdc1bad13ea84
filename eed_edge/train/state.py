"""State of a training in progress, in memory and in its checkpoint."""

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
"""Fields of ``TrainingState`` that a checkpoint stores as JSON; the others are tensors."""


@dataclass
class TrainingState:
    """Everything beside the network that the next batch depends on.

    optimiser: SGD over the network's parameters.
    epoch, batch: epochs done, and batches done of the current one.
    step: batches done in total.
    attack: attack on the training images; the guard may have changed the recipe's.
    average: the weight average; empty without one.
    best: weights of the best epoch.
    history: a record of each epoch done.
    trained_s: seconds of training in the current epoch.
    local: this process's part of the current epoch: random states and the sum of its losses.
    """

    optimiser: torch.optim.Optimizer
    epoch: int
    step: int
    attack: str
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    history: list[dict[str, Any]] = field(default_factory=list)
    batch: int = 0
    trained_s: float = 0.0
    local: dict[str, Tensor] = field(default_factory=dict)

    def weights_to_save(self, net: nn.Module) -> dict[str, Tensor]:
        """The weights to validate and save: the average, or the network's without one."""
        return self.average or net.state_dict()


def initial_state(net: nn.Module, cfg: Training) -> TrainingState:
    """State before the first epoch."""
    average = copy_weights(net.state_dict()) if cfg.averaging else {}
    return TrainingState(_optimiser(net, cfg), 0, 0, cfg.attack, average, {})


def _optimiser(net: nn.Module, cfg: Training) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        net.parameters(),
        lr=cfg.lr,
        momentum=cfg.momentum,
        nesterov=cfg.momentum > 0,
        weight_decay=cfg.weight_decay,
        fused=True,
    )


def move_average(state: TrainingState, net: nn.Module, decay: float) -> None:
    """Move the weight average; a young average moves faster."""
    if not decay:
        return
    share = 1 - min(decay, (1 + state.step) / (10 + state.step))
    weights = net.state_dict()
    floats = [name for name, tensor in weights.items() if tensor.is_floating_point()]
    for name in weights.keys() - floats:
        state.average[name].copy_(weights[name])
    move = get_ema_multi_avg_fn(1 - share)  # type: ignore[no-untyped-call]
    move([state.average[name] for name in floats], [weights[name] for name in floats], None)


@contextmanager
def temporary_weights(net: nn.Module, weights: dict[str, Tensor]) -> Iterator[None]:
    """Give the network other weights inside the block."""
    before = copy_weights(net.state_dict())
    try:
        net.load_state_dict(weights)
        yield
    finally:
        net.load_state_dict(before)


def copy_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Detached copies of the weights."""
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


def random_state(device: torch.device, generator: torch.Generator) -> dict[str, Tensor]:
    """States of every random generator that training draws from, as uint8 tensors."""
    states = {"noise": generator.get_state(), "torch": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(device: torch.device, states: dict[str, Tensor]) -> None:
    """Restore those of torch's global generators that are in ``states``; ``batches.epoch`` has the other."""
    if "torch" in states:
        torch.set_rng_state(states["torch"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def for_device(device: torch.device, states: dict[str, Tensor]) -> dict[str, Tensor]:
    """``states``, without the random ones if they are of another kind of device, whose generators differ."""
    if ("cuda" in states) == (device.type == "cuda"):
        return states
    return {name: tensor for name, tensor in states.items() if name not in ("noise", "torch", "cuda")}


def save_state(
    path: Path, net: nn.Module, state: TrainingState, *, processes: Processes = SINGLE_PROCESS
) -> None:
    """Write the checkpoint of a training in progress; all processes call it, the main one writes."""
    optimiser = state.optimiser
    momenta = {
        str(i): optimiser.state[parameter]["momentum_buffer"]
        for i, parameter in enumerate(optimiser.param_groups[0]["params"])
        if optimiser.state.get(parameter, {}).get("momentum_buffer") is not None
    }
    parts = {
        "net": net.state_dict(), "average": state.average, "best": state.best, "momentum": momenta,
        "local": _gathered(net, state, processes),
    }  # fmt: skip
    if processes.is_main:
        tensors = {
            f"{part}/{name}": tensor for part, weights in parts.items() for name, tensor in weights.items()
        }
        checkpoint.save_checkpoint(path, tensors, {name: getattr(state, name) for name in RECORDED})


def _gathered(net: nn.Module, state: TrainingState, processes: Processes) -> dict[str, Tensor]:
    """Per-process state inside an epoch, by rank: ``local`` and batch-norm statistics."""
    if not state.batch:
        return {}
    local = {f"local/{name}": tensor.cpu() for name, tensor in state.local.items()}
    if processes.size > 1:
        for name, buffer in net.named_buffers():
            local[f"net/{name}"] = buffer.cpu()
            if state.average:
                local[f"average/{name}"] = state.average[name].cpu()
    return {
        f"{rank}/{name}": tensor
        for rank, tensors in enumerate(processes.all_gather(local))
        for name, tensor in tensors.items()
    }


def resume_state(
    path: Path, net: nn.Module, cfg: Training, *, processes: Processes = SINGLE_PROCESS
) -> TrainingState:
    """Load a checkpoint into ``net`` and return its state.

    An interrupted epoch resumes bitwise with as many processes as before on the same kind of device;
    otherwise with other noise.

    Raises:
        CheckpointError: it is missing, cut short or of another network.
    """
    tensors, record = checkpoint.load_checkpoint(path)
    device = next(net.parameters()).device
    parts: dict[str, dict[str, Tensor]] = {"net": {}, "average": {}, "best": {}, "momentum": {}, "local": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor if part == "local" else tensor.to(device)
    local = _part_of_process(parts["local"], processes)
    for part in ("net", "average"):
        parts[part] |= {name: tensor.to(device) for name, tensor in local.get(part, {}).items()}
    try:
        net.load_state_dict(parts["net"])
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: the weights do not fit the network; delete the file and train again"
        ) from error
    optimiser = _optimiser(net, cfg)
    for i, parameter in enumerate(optimiser.param_groups[0]["params"]):
        if str(i) in parts["momentum"]:
            buffer = torch.empty_like(parameter, memory_format=torch.preserve_format)
            optimiser.state[parameter]["momentum_buffer"] = buffer.copy_(parts["momentum"][str(i)])
    del record["format"]
    process_local = for_device(device, local.get("local", {}))
    return TrainingState(
        optimiser, average=parts["average"], best=parts["best"], local=process_local, **record
    )


def _part_of_process(gathered: dict[str, Tensor], processes: Processes) -> dict[str, dict[str, Tensor]]:
    """This process's gathered state by kind; empty when the number of processes has changed."""
    local: dict[str, dict[str, Tensor]] = {}
    for name, tensor in gathered.items():
        rank, kind, rest = name.split("/", 2)
        if int(rank) == processes.rank:
            local.setdefault(kind, {})[rest] = tensor
    size = len({name.partition("/")[0] for name in gathered})
    return local if size == processes.size else {}
