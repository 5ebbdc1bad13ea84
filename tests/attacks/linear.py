"""Linear classifiers, whose exact minimal perturbations are known in closed form."""

import torch
from torch import Tensor, nn


def classifier(classes: int, size: tuple[int, int, int], *, seed: int, scale: float = 1.0) -> nn.Sequential:
    """A linear map of the pixels with random weights, without a favourite class on a grey image."""
    generator = torch.Generator().manual_seed(seed)
    features = size[0] * size[1] * size[2]
    layer = nn.Linear(features, classes)
    layer.weight.data = scale * torch.randn(classes, features, generator=generator)
    layer.bias.data = -layer.weight.data.sum(1) / 2
    return nn.Sequential(nn.Flatten(), layer).eval()


def exact_linf(net: nn.Sequential, images: Tensor, labels: Tensor) -> Tensor:
    """The least l_inf distance to another answer, ``(n,)``, 0 where the answer is wrong already.

    Class j overtakes y at ``(z_y - z_j) / |w_y - w_j|_1`` (Hölder's inequality, met with equality by
    a signed step). It holds while that step stays within [0, 1].
    """
    return _exact(net, images, labels, order=1)


def exact_l2(net: nn.Sequential, images: Tensor, labels: Tensor) -> Tensor:
    """The least l_2 distance to another answer, ``(n,)``: ``(z_y - z_j) / |w_y - w_j|_2``; else as above."""
    return _exact(net, images, labels, order=2)


def _exact(net: nn.Sequential, images: Tensor, labels: Tensor, *, order: int) -> Tensor:
    with torch.no_grad():
        logits = net(images)  # (n, k)
        ahead = logits.gather(1, labels[:, None]) - logits
        weight = net[1].weight
        apart = (weight[labels][:, None] - weight[None]).norm(p=order, dim=2)  # (n, k)
        distance = ahead / apart
        distance.scatter_(1, labels[:, None], torch.inf)  # 0 / 0
        return distance.amin(1).clamp_(min=0)
