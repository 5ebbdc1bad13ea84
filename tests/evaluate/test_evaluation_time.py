"""The steps that the estimate of an evaluation counts, beside those that the attacks take."""

import pytest
import torch
from torch import nn

from eed_edge.attacks.autoattack import APGD, AutoAttack, ShortAPGD
from eed_edge.attacks.carlini_wagner import CarliniWagner
from eed_edge.attacks.interface import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.evaluate.evaluation_time import gradient_steps


class Firm(nn.Module):
    """A linear network that no attack fools, and that counts the calls with a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([50.0, 3.0, 2.0, 1.0]))
        self.calls = 0

    def forward(self, images):
        self.calls += int(torch.is_grad_enabled() and images.requires_grad)
        return self.head(images.flatten(1))


@pytest.mark.parametrize("attack", [PGD(), CarliniWagner(), ShortAPGD(), APGD(steps=20)], ids=repr)
def test_an_attack_takes_about_the_steps_that_are_counted(attack):
    net = Firm().eval()
    attack(net, torch.full((2, 1, 2, 2), 0.5), torch.zeros(2, dtype=torch.long), Threat(0.1, 0))
    assert net.calls == pytest.approx(gradient_steps(attack, 4), rel=0.15, abs=2)


def test_autoattack_by_hand():
    # APGD-CE and APGD-T against 9 classes, FAB-T against 9, and 5,000 queries of Square at a third of a step.
    assert gradient_steps(AutoAttack(), 10) == 100 * (1 + 9) + 100 * 9 + 5000 // 3
