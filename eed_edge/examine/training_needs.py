"""What a training needs on this machine, estimated before it starts: time, memory and disk."""

import os
import sys
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from eed_edge.examine.training_time import team_size, training_seconds
from eed_edge.prune.candidates import candidates
from eed_edge.prune.dry_run import DryRun
from eed_edge.recipe import Recipe
from eed_edge.report.formats import duration, memory_size
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.networks.build import Classifier

FLOAT = 4  # bytes
COPIES_IN_MEMORY = 4
"""Of the weights in training: themselves, gradients, momentum and their average."""
COPIES_OF_ACTIVATIONS = 3
"""Of a batch's activations in training: those kept for the gradient, their gradients, and room to work."""


@dataclass(frozen=True)
class TrainingNeeds:
    """What a training needs.

    seconds: of each stage.
    memory_bytes: most of the process, on top of what a GPU holds.
    disk_bytes: most of the run folder.
    """

    seconds: dict[str, float]
    memory_bytes: float
    disk_bytes: float

    @property
    def line(self) -> str:
        """Describe time, memory and disk in one line."""
        parts = ", ".join(f"{stage} {duration(each)}" for stage, each in self.seconds.items())
        total, busy = duration(sum(self.seconds.values())), ", slowed by other work now" if _busy() else ""
        return (
            f"about {total} on this machine{busy}, one process ({parts}),"
            f" {memory_size(self.memory_bytes)} of memory, {memory_size(self.disk_bytes)} of disk"
        )


def training_needs(
    net: Classifier, dry: DryRun, few: Images, recipe: Recipe, *, train: int, tune: int
) -> TrainingNeeds:
    """Estimate from a few timed steps and from the sizes of base and member.

    Args:
        few: images to time with.
        train, tune: numbers of images of these parts.
    """
    seconds = training_seconds(net, dry, few, recipe, train=train, tune=tune)
    base, member = _parameters(net), _parameters(dry.member)
    image = as_float(few.images[:1])
    widest = max(
        recipe.base.batch * _activations(net, image),
        team_size(recipe) * recipe.joint.batch * _activations(dry.member, image),
    )
    memory = _peak_so_far() + FLOAT * (COPIES_OF_ACTIVATIONS * widest + COPIES_IN_MEMORY * base)
    # Weights of the last and of the best epoch of each network; a checkpoint on top of it while it trains.
    disk = FLOAT * (2 * base + 2 * len(candidates(recipe)) * member + team_size(recipe) * member)
    checkpoint = FLOAT * COPIES_IN_MEMORY * base
    return TrainingNeeds(seconds, float(memory), float(disk + checkpoint))


def _parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def _activations(net: nn.Module, image: Tensor) -> int:
    """Numbers that the layers of a network put out for one image."""
    counts: list[int] = []

    def count(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor):
            counts.append(output.numel())

    layers = [module for module in net.modules() if not list(module.children())]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    training = net.training
    try:
        net.eval()(image)
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()
    return int(np.sum(counts))


def _peak_so_far() -> int:
    """Peak memory of this process in bytes, with Python, torch and the images; 0 on Windows."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _busy() -> bool:
    """Whether other programs take more than half of the processors, which slows the timed steps."""
    load = getattr(os, "getloadavg", lambda: (0.0,))()[0]  # Windows has none
    return load > 0.5 * (os.cpu_count() or 1) + 1
