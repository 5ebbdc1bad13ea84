"""State of a score search in progress, in memory and in its checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from eed_edge.errors import CheckpointError
from eed_edge.train.networks import checkpoint


@dataclass
class SearchState:
    """Scores, thresholds, optimiser and position of a score search.

    net: the masked network, whose batch-norm statistics adapt.
    scores, thresholds: group root to ``(channels,)`` and to a scalar.
    lr: learning rate of the first step.
    epoch, batch: epochs done, and batches done of the current one.
    steps: batches done in total.
    random: states of the random generators after the last batch.
    """

    net: nn.Module
    scores: dict[str, Tensor]
    thresholds: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    lr: float
    epoch: int = 0
    batch: int = 0
    steps: int = 0
    random: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def begin(
        cls, net: nn.Module, scores: Mapping[str, Tensor], keep_ratios: Mapping[str, float], *, lr: float
    ) -> "SearchState":
        """State before the first batch, with thresholds that keep ``keep_ratios`` of each group."""
        learned = {root: score.clone().requires_grad_(True) for root, score in scores.items()}
        thresholds = {
            root: torch.tensor(1 - ratio, device=learned[root].device, requires_grad=True)
            for root, ratio in keep_ratios.items()
        }
        optimiser = torch.optim.Adam([*learned.values(), *thresholds.values()], lr=lr)
        return cls(net, learned, thresholds, optimiser, lr)

    def step(self, loss: Tensor, *, rate: float) -> None:
        """One step of Adam on scores and thresholds, at that share of the learning rate."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate * self.lr
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.batch += 1
        self.steps += 1

    def next_epoch(self) -> None:
        """Move to the first batch of the next epoch."""
        self.epoch, self.batch, self.random = self.epoch + 1, 0, {}

    def save(self, path: Path) -> None:
        """Write the checkpoint."""
        moments = self.optimiser.state_dict()["state"]
        parts: dict[str, Mapping[str, Tensor]] = {
            "scores": self.scores,
            "thresholds": self.thresholds,
            "buffers": dict(self.net.named_buffers()),
            "random": self.random,
            **{f"adam-{i}": moment for i, moment in moments.items()},
        }
        tensors = {
            f"{part}/{name}": tensor for part, values in parts.items() for name, tensor in values.items()
        }
        checkpoint.save_checkpoint(
            path, tensors, {"epoch": self.epoch, "batch": self.batch, "steps": self.steps}
        )

    def resume(self, path: Path) -> None:
        """Load a checkpoint, in place.

        Raises:
            CheckpointError: it is cut short or of another network.
        """
        tensors, record = checkpoint.load_checkpoint(path)
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = tensor
        try:
            with torch.no_grad():
                for part, values in (
                    ("scores", self.scores),
                    ("thresholds", self.thresholds),
                    ("buffers", dict(self.net.named_buffers())),
                ):
                    for name, tensor in values.items():
                        tensor.copy_(parts[part][name])
            moments = {int(part[5:]): values for part, values in parts.items() if part.startswith("adam-")}
            groups = self.optimiser.state_dict()["param_groups"]
            self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
            self.epoch, self.batch, self.steps = (record[key] for key in ("epoch", "batch", "steps"))
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: it does not fit the network; delete it and train again"
            ) from error
        self.random = parts.get("random", {})
