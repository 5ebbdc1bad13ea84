"""DeepFool in the l_2 ball, by foolbox."""

import os
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from eed_edge.attacks.interface import Attack, Threat
from eed_edge.errors import DeviceError, how_to_install


@dataclass(frozen=True)
class DeepFool(Attack):
    """DeepFool l_2 with overshoot 0.02, projected to the ball of ``threat.radius_l2``.

    The paper names no l_2 radius; ours is the usual one on CIFAR-10.

    steps: linearisations.

    Source:
        Moosavi-Dezfooli et al., CVPR 2016, as foolbox's L2DeepFoolAttack.
    """

    norm: ClassVar[str | None] = "l_2"
    steps: int = 50

    @property
    def description(self) -> str:
        """One line on the settings."""
        return f"DeepFool l_2, {self.steps} steps, radius 0.5 at eps 8/255 and 3x32x32, foolbox"

    def run(self, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
        """Run foolbox's attack.

        Raises:
            DeviceError: foolbox is not installed.
        """
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # foolbox imports GitPython, which looks for git
        try:
            from foolbox.attacks.deepfool import L2DeepFoolAttack
            from foolbox.models.pytorch import PyTorchModel
        except ImportError as error:
            raise DeviceError(
                f"DeepFool needs foolbox, which is not installed; {how_to_install('attack')}"
            ) from error
        images = images.contiguous()
        with torch.no_grad():
            classes = model(images[:1]).shape[1]
        wrapped = PyTorchModel(model, bounds=(0, 1), device=images.device)
        attack = L2DeepFoolAttack(steps=self.steps, candidates=min(10, classes))
        attacked: Tensor = attack(wrapped, images, labels, epsilons=threat.radius_l2(images))[1]
        return attacked
