"""Accuracy on clean images and under the worse of two PGD attacks, by which networks are judged on tune.

Cross-entropy alone flatters networks that were trained towards uncertain answers: their loss is flat where
their margin is small.
"""

import torch
from torch import Tensor, nn

from eed_edge.attacks.carlini_wagner import CarliniWagner
from eed_edge.attacks.interface import Threat
from eed_edge.attacks.pgd import PGD


def correct_clean(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Whether each image is classified correctly as it is, ``(n,)`` bool; ``net`` is in evaluation mode."""
    with torch.no_grad():
        right: Tensor = net(images).argmax(1) == labels
    return right


def correct_under_attack(
    net: nn.Module, images: Tensor, labels: Tensor, threat: Threat, *, steps: int, margin: bool
) -> Tensor:
    """Whether each image is classified correctly under PGD, and with ``margin`` also under PGD on the margin.

    Args:
        net: frozen, images to logits.
        images: ``(n, c, h, w)`` in [0, 1].
        steps: of each attack, eps/4 in size.

    Returns:
        ``(n,)`` bool.
    """
    attacks = [PGD(steps=steps), *([CarliniWagner(steps=steps, steps_per_eps=4)] if margin else [])]
    correct = torch.ones_like(labels, dtype=torch.bool)
    for attack in attacks:
        attacked = attack(net, images, labels, threat)
        with torch.no_grad():
            correct &= net(attacked).argmax(1) == labels
    return correct
