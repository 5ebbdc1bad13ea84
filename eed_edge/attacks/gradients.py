"""Losses per image, their gradient at the input, and uniform noise: what gradient attacks share."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

PerImageLoss = Callable[[Tensor, Tensor], Tensor]
"""Logits ``(n, k)`` and labels ``(n,)`` to a loss per image ``(n,)``, which an attack maximises."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy per image."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The largest wrong logit minus the true one: positive when the image is misclassified.

    Source:
        Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks", 2017, f6 without kappa.
    """
    true = logits.gather(1, labels[:, None]).squeeze(1)
    wrong = logits.scatter(1, labels[:, None], float("-inf")).amax(1)
    return wrong - true


def input_gradient(
    model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, loss: PerImageLoss = cross_entropy
) -> Tensor:
    """Gradient of the summed loss with respect to the images, ``(n, c, h, w)``."""
    images = images.detach().requires_grad_(True)
    with torch.enable_grad():
        return torch.autograd.grad(loss(model(images).float(), labels).sum(), images)[0]


def uniform_noise(like: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    """Independent uniform values in ±``radius`` of the shape and memory layout of ``like``."""
    noise = torch.empty_like(like, memory_format=torch.preserve_format)
    return noise.uniform_(-radius, radius, generator=generator)
