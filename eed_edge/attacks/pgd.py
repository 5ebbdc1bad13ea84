"""PGD: projected gradient ascent from a random start in the l_inf ball."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from eed_edge.attacks.gradients import cross_entropy, input_gradient, uniform_noise
from eed_edge.attacks.interface import Threat, TrainingAttack
from eed_edge.recipe import Training


@dataclass(frozen=True)
class PGD(TrainingAttack):
    """Signed gradient ascent on the cross-entropy, projected to the l_inf ball and to [0, 1].

    steps: gradient steps.
    steps_per_eps: the step size is ``eps / steps_per_eps``; 4 gives 2/255 at 8/255.
    step: the step size in units of the [0, 1] range; None uses ``steps_per_eps``.

    Source:
        Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018.
    """

    steps: int = 20
    steps_per_eps: float = 4.0
    step: float | None = None

    @property
    def description(self) -> str:
        """One line on the settings."""
        return f"PGD, cross-entropy, {self._steps_text}, one random start"

    @property
    def _steps_text(self) -> str:
        size = f"eps/{self.steps_per_eps:g}" if self.step is None else f"{self.step * 255:g}/255"
        return f"{self.steps} steps of {size}"

    @property
    def passes(self) -> int:
        """A forward and a backward pass for each step."""
        return 2 * self.steps

    @classmethod
    def from_recipe(cls, cfg: Training, *, scale: float = 1.0) -> Self:
        """Return PGD with the recipe's ``steps`` and ``step_255``."""
        return cls(steps=cfg.steps, step=scale * cfg.step_255 / 255)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss per image that is maximised, ``(n,)``."""
        return cross_entropy(logits, labels)

    def run(self, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
        """Ascend from a random start."""
        eps = threat.eps
        step = eps / self.steps_per_eps if self.step is None else self.step
        low, high = (images - eps).clamp_(min=0), (images + eps).clamp_(max=1)
        attacked = (images + uniform_noise(images, eps, threat.random(images.device))).clamp_(0, 1)
        for _ in range(self.steps):
            attacked = attacked + step * input_gradient(model, attacked, labels, self.loss).sign()
            attacked = torch.minimum(torch.maximum(attacked, low), high)
        return attacked
