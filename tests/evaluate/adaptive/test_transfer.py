"""Transfer: images that the attack itself would skip or leave at once are pushed on."""

import torch

from eed_edge.attacks.autoattack import ShortAPGD
from eed_edge.attacks.gradients import cross_entropy
from eed_edge.attacks.interface import Threat
from eed_edge.evaluate.adaptive.transfer import Transfer
from tests.attacks.linear import classifier

SIZE, EPS = (1, 8, 8), 0.05


def test_images_that_the_network_has_wrong_are_attacked_and_those_it_keeps_right_are_left_to_the_attack():
    net = classifier(4, SIZE, seed=0, scale=0.5)
    images = 0.2 + 0.6 * torch.rand(40, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        labels = net(images).argmax(1)
        labels[:10] = (labels[:10] + 1) % 4  # wrong from the start
        alone = ShortAPGD()(net, images, labels, Threat(EPS, 0))
        further = Transfer(ShortAPGD())(net, images, labels, Threat(EPS, 0))
        before, after = (cross_entropy(net(each), labels) for each in (alone, further))
        fooled = net(alone).argmax(1) != labels
    assert torch.equal(alone[:10], images[:10])  # AutoAttack skips them
    assert (after[:10] > before[:10] + 0.5).all()
    assert (after[fooled] > before[fooled] - 0.01).all()
    assert torch.equal(further[~fooled], alone[~fooled])
    assert torch.equal(net(further).argmax(1) != labels, fooled)
