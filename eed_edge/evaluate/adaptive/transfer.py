"""Attack for transfer: it continues where its own network is wrong, to fool other networks as well."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from eed_edge.attacks.interface import Attack, Threat
from eed_edge.attacks.pgd import PGD


@dataclass(frozen=True)
class Transfer(Attack):
    """An attack, followed by PGD wherever its network is wrong on the result.

    AutoAttack skips images that its network misclassifies unmodified, and leaves every other one at the first
    misclassified version, on which another network need not be wrong. PGD continues to raise the loss. Its
    images are returned where the network is wrong on them, else those of the attack.

    attack: the attack on the network itself.
    then: the attack that goes on.
    """

    per_image: ClassVar[bool] = False
    attack: Attack
    then: PGD = field(default_factory=PGD)

    @property
    def description(self) -> str:
        """One line on the settings."""
        return f"{self.attack.description}; {self.then.description} where the network is wrong"

    def run(self, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
        """Run both."""
        attacked = self.attack.run(model, images, labels, threat)
        with torch.no_grad():
            wrong = torch.nonzero(model(attacked).argmax(1) != labels)[:, 0]
        if not len(wrong):
            return attacked
        further = self.then.run(model, images[wrong], labels[wrong], threat)
        with torch.no_grad():
            still = model(further).argmax(1) != labels[wrong]
        attacked = attacked.clone()
        attacked[wrong[still]] = further[still]
        return attacked
