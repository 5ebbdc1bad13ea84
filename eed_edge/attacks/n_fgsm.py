"""N-FGSM: one gradient step from a noisy image, for fast adversarial training."""

from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor, nn

from eed_edge.attacks.gradients import input_gradient, uniform_noise
from eed_edge.attacks.interface import Threat, TrainingAttack
from eed_edge.recipe import Training


@dataclass(frozen=True)
class NFGSM(TrainingAttack):
    """One signed gradient step of size eps from uniform noise in ±2·eps, not projected back.

    Results lie up to 3·eps from the clean images, so that this attack serves training only.

    Source:
        de Jorge et al., "Make Some Noise", NeurIPS 2022.
    """

    norm: ClassVar[str | None] = None

    @property
    def description(self) -> str:
        """One line on the settings."""
        return "N-FGSM: one step of eps from noise in +-2 eps, not projected"

    @property
    def passes(self) -> int:
        """A forward and a backward pass."""
        return 2

    @classmethod
    def from_recipe(cls, cfg: Training, *, scale: float = 1.0) -> Self:
        """Return the attack; it has no settings."""
        return cls()

    def run(self, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
        """Take the step and clip to [0, 1]."""
        noise = uniform_noise(images, 2 * threat.eps, threat.random(images.device))
        step = threat.eps * input_gradient(model, images + noise, labels).sign()
        return (images + noise + step).clamp_(0, 1)
