"""Time a training step on this machine with a few images, for the estimates before long work."""

import copy
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from eed_edge.attacks import training_images
from eed_edge.recipe import Training
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.system.devices import mixed_precision

BATCH, REPEATS = 32, 2


def step_seconds(net: nn.Module, few: Images, cfg: Training) -> float:
    """Seconds per image of a training step with its attack; ``net`` is copied."""
    net = copy.deepcopy(net)
    images, labels = as_float(few.images), few.labels
    optimiser = torch.optim.SGD(net.parameters(), lr=0.0, momentum=0.9)
    generator = torch.Generator(images.device).manual_seed(0)

    def step() -> None:
        net.train()
        with mixed_precision(images.device):
            attacked = training_images.make_adversarial(
                net, images, labels, attack=cfg.attack, cfg=cfg, generator=generator
            )
            loss = F.cross_entropy(net(attacked).float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()

    return _seconds(step, images.device) / len(few)


def gradient_seconds(net: nn.Module, few: Images) -> float:
    """Seconds per image of a forward pass and the gradient at the image; ``net`` is copied."""
    net, images = copy.deepcopy(net).eval().requires_grad_(False), as_float(few.images)

    def once() -> None:
        images.requires_grad_(True)
        torch.autograd.grad(net(images).sum(), images)

    return _seconds(once, images.device) / len(few)


def _seconds(call: Callable[[], None], device: torch.device) -> float:
    """Seconds of a call, the best of a few after a warm-up."""
    with torch.random.fork_rng(devices=[]):
        call()
        times = []
        for _ in range(REPEATS):
            if device.type == "cuda":
                torch.cuda.synchronize()
            started = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
    return min(times)
