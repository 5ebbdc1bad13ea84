"""A training under way: everything that its next epoch depends on, in memory and on disk."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from eed_edge.errors import CheckpointError
from eed_edge.recipe import Training
from eed_edge.train import checkpoint


@dataclass
class State:
    """Everything that the next epoch depends on."""

    epoch: int
    step: int
    attack: str
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    history: list[dict[str, Any]] = field(default_factory=list)

    def judged(self, net: nn.Module) -> dict[str, Tensor]:
        """The weights that are judged and kept: the average, or the network's own without one."""
        return self.average or net.state_dict()


def begin(net: nn.Module, cfg: Training) -> State:
    """Before the first epoch."""
    return State(0, 0, cfg.attack, copied(net.state_dict()) if cfg.averaging else {}, {})


def move_average(now: State, net: nn.Module, decay: float) -> None:
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


class Weights:
    """The network with other weights for a moment."""

    def __init__(self, net: nn.Module, weights: dict[str, Tensor]) -> None:
        self.net, self.weights = net, weights

    def __enter__(self) -> None:
        self.own = copied(self.net.state_dict())
        self.net.load_state_dict(self.weights)

    def __exit__(self, *_: object) -> None:
        self.net.load_state_dict(self.own)


def copied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of their own, which no training moves."""
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


def save(path: Path, net: nn.Module, optimiser: torch.optim.Optimizer, now: State) -> None:
    """Write the checkpoint of a training under way."""
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


def resume(path: Path, net: nn.Module, optimiser: torch.optim.Optimizer) -> State:
    """Go back to a checkpoint, in place.

    Raises:
        CheckpointError: it is missing, cut short or of another network.
    """
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
    return State(average=parts["average"], best=parts["best"], **record)
