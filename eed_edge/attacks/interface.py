"""The threat model and the base class of all attacks.

An attack's settings are the fields of its class; a call is ``attack(model, images, labels, threat)``.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from eed_edge.errors import AttackError
from eed_edge.recipe import Training

TOLERANCE = 1e-5
"""Rounding error allowed when a result is compared with its ball and with [0, 1]."""


@dataclass(frozen=True)
class Threat:
    """The perturbation budget of an attack and its source of randomness.

    eps: radius of the l_inf ball in units of the [0, 1] range.
    seed: seed of the attack's random numbers.
    generator: used in place of ``seed`` and advanced, so that batches of one loop differ.
    """

    eps: float
    seed: int = 0
    generator: torch.Generator | None = None

    def radius_l2(self, images: Tensor) -> float:
        """Radius of the l_2 ball: 0.5 at 8/255 on 3×32×32 images, the usual value on CIFAR-10.

        It is proportional to eps and to the square root of the number of values in an image.
        """
        return 0.5 * (self.eps / (8 / 255)) * math.sqrt(images[0].numel() / 3072)

    def random(self, device: torch.device) -> torch.Generator:
        """Return ``generator``, or a new one on ``device`` started from ``seed``."""
        return self.generator or torch.Generator(device).manual_seed(self.seed)


class Attack(ABC):
    """An adversarial attack on a classifier whose images lie in [0, 1].

    ``model`` must return logits or log-probabilities ``(n, k)``. An image for which no adversarial example
    is found may be returned unchanged.

    norm: ball that every result lies in, ``l_inf`` of ``threat.eps`` or ``l_2`` of ``threat.radius_l2``;
        None: in no particular ball.
    per_image: an image's result does not depend on the other images in the batch.
    """

    norm: ClassVar[str | None] = "l_inf"
    per_image: ClassVar[bool] = True

    @property
    @abstractmethod
    def description(self) -> str:
        """One line on the settings, for the report."""

    @abstractmethod
    def run(self, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
        """Make the adversarial images; ``model`` is frozen, and the result is not checked."""

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
        """Attack ``model`` and check the result; parameters, statistics and modes of ``model`` are kept.

        Args:
            images: ``(n, c, h, w)`` in [0, 1].
            labels: ``(n,)`` true classes.

        Returns:
            Adversarial images ``(n, c, h, w)`` in [0, 1].

        Raises:
            AttackError: a value is not finite, or an image lies outside [0, 1] or the ball.
        """
        with frozen(model):
            attacked = self.run(model, images, labels, threat).detach()
        self._check(images, attacked, threat)
        return attacked

    def _check(self, images: Tensor, attacked: Tensor, threat: Threat) -> None:
        name = type(self).__name__
        if attacked.shape != images.shape or not attacked.isfinite().all():
            raise AttackError(
                f"{name}: expected finite images {tuple(images.shape)}, got {tuple(attacked.shape)} with"
                f" {int((~attacked.isfinite()).sum())} values that are not; correct the attack's run()"
            )
        if not len(images):
            return
        low, high = float(attacked.min()), float(attacked.max())
        if low < -TOLERANCE or high > 1 + TOLERANCE:
            raise AttackError(
                f"{name}: expected images in [0, 1], got {low:g} to {high:g}; clip them in the attack's run()"
            )
        if self.norm is None:
            return
        change = (attacked - images).flatten(1)
        radius = threat.eps if self.norm == "l_inf" else threat.radius_l2(images)
        distance = float(change.norm(p=torch.inf if self.norm == "l_inf" else 2, dim=1).max())
        if distance > radius * (1 + TOLERANCE) + TOLERANCE:
            raise AttackError(
                f"{name}: expected images within {self.norm} distance {radius:g}, got {distance:g};"
                " project them in the attack's run()"
            )


class TrainingAttack(Attack):
    """An attack that adversarial training can use, built from the recipe's section of a stage."""

    @classmethod
    @abstractmethod
    def from_recipe(cls, cfg: Training, *, scale: float = 1.0) -> Self:
        """The attack with the settings of ``cfg``.

        Args:
            scale: share of the full radius in use during the warm-up; absolute step sizes shrink with it.
        """

    @property
    @abstractmethod
    def passes(self) -> int:
        """Forward and backward passes for one image, for the count of training cost."""


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Set evaluation mode and turn parameter gradients off; both are restored at the end."""
    modes = [(module, module.training) for module in net.modules()]
    trainable = [parameter for parameter in net.parameters() if parameter.requires_grad]
    net.eval()
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in trainable:
            parameter.requires_grad_(True)
