"""Attacks inside the l_inf ball: N-FGSM and PGD, on images in [0, 1].

The network's parameters are frozen and batch norm uses its running statistics while an
attack is made, so crafting changes nothing in the network.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eed_edge.recipe import Training

Forward = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits ``(n, k)`` and labels ``(n,)`` to a loss per image ``(n,)``, which an attack raises."""


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Evaluation mode and no parameter gradients, both put back at the end."""
    modes = [(module, module.training) for module in net.modules()]
    wanted = [parameter for parameter in net.parameters() if parameter.requires_grad]
    net.eval()
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in wanted:
            parameter.requires_grad_(True)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy per image."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The best wrong logit minus the true one: positive when the image is misclassified.

    Source:
        Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks", 2017, f6 without kappa.
    """
    true = logits.gather(1, labels[:, None]).squeeze(1)
    wrong = logits.scatter(1, labels[:, None], float("-inf")).amax(1)
    return wrong - true


def _gradient(forward: Forward, images: Tensor, labels: Tensor, loss: Loss = cross_entropy) -> Tensor:
    images = images.detach().requires_grad_(True)
    with torch.enable_grad():
        return torch.autograd.grad(loss(forward(images).float(), labels).sum(), images)[0]


def n_fgsm(
    forward: Forward, images: Tensor, labels: Tensor, *, eps: float, generator: torch.Generator
) -> Tensor:
    """One signed gradient step of size ``eps`` from uniform noise in ±2·eps, not projected back.

    Args:
        forward: images ``(n, c, h, w)`` to logits ``(n, k)``.
        images: ``(n, c, h, w)`` in [0, 1].
        eps: radius in units of the [0, 1] range.

    Returns:
        Images in [0, 1], up to 3·eps away from the clean ones: for training only.

    Source:
        de Jorge et al., "Make Some Noise", NeurIPS 2022.
    """
    noise = _uniform(images, 2 * eps, generator)
    step = eps * _gradient(forward, images + noise, labels).sign()
    return (images + noise + step).clamp_(0, 1)


def pgd(
    forward: Forward,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float,
    step: float,
    steps: int,
    generator: torch.Generator,
    loss: Loss = cross_entropy,
) -> Tensor:
    """Projected gradient ascent on ``loss`` from a random start.

    Args:
        forward: images ``(n, c, h, w)`` to logits ``(n, k)``.
        images: ``(n, c, h, w)`` in [0, 1].
        eps: radius of the l_inf ball in units of the [0, 1] range.
        step: step size in the same units.
        steps: number of gradient steps.

    Returns:
        Images in [0, 1] within ``eps`` of the clean ones.

    Source:
        Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018.
    """
    low, high = (images - eps).clamp_(min=0), (images + eps).clamp_(max=1)
    attacked = (images + _uniform(images, eps, generator)).clamp_(0, 1)
    for _ in range(steps):
        attacked = attacked + step * _gradient(forward, attacked, labels, loss).sign()
        attacked = torch.minimum(torch.maximum(attacked, low), high)
    return attacked.detach()


def _uniform(like: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    noise = torch.empty_like(like, memory_format=torch.preserve_format)
    return noise.uniform_(-radius, radius, generator=generator)


def make_adversarial(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: str,
    cfg: Training,
    generator: torch.Generator,
    progress: float = 1.0,
) -> Tensor:
    """Training images for ``net`` by ``attack``, ``n-fgsm`` or ``pgd``, with the settings of ``cfg``.

    Args:
        progress: share of the training that is done; the radius rises during ``cfg.eps_warmup``.
    """
    rise = min(1.0, progress / cfg.eps_warmup) if cfg.eps_warmup else 1.0
    eps = rise * cfg.eps_255 / 255
    with frozen(net):
        if attack == "n-fgsm":
            return n_fgsm(net, images, labels, eps=eps, generator=generator)
        step = rise * cfg.step_255 / 255
        return pgd(net, images, labels, eps=eps, step=step, steps=cfg.steps, generator=generator)
