"""Training without an attack: the images stay as they are."""

from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from eed_edge.attacks.interface import Threat, TrainingAttack
from eed_edge.recipe import Training


@dataclass(frozen=True)
class NoAttack(TrainingAttack):
    """The identity: a stage with ``attack = "none"`` trains on clean images."""

    @property
    def description(self) -> str:
        """One line on the settings."""
        return "no attack: clean images"

    @property
    def passes(self) -> int:
        """No passes."""
        return 0

    @classmethod
    def from_recipe(cls, cfg: Training, *, scale: float = 1.0) -> Self:
        """Return the attack; it has no settings."""
        return cls()

    def run(self, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
        """Return the images unchanged."""
        return images
