"""Networks under examination: built, with a few images, and a recipe that asks for little pruning."""

import os

import pytest
import torch
from torch import nn

from eed_edge import recipe
from eed_edge.examine import Examination, examine
from eed_edge.recipe import Recipe
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.networks import build
from eed_edge.train.networks.build import Classifier

CLASSES, WIDTH = 4, 32
RECIPE = recipe.from_dict(
    {"prune": {"member_share": 0.49, "sparsity": 0.01, "round_to": 4}, "base": {"attack": "n-fgsm"}}
)
REMOVALS = 40 if os.environ.get("NETWORKS") == "all" else 8
"""Random removals of channels that a network is tried with; ``make networks`` tries more."""


def few(size: int = 8, channels: int = 1) -> Images:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, channels, size, size), generator=generator, dtype=torch.uint8)
    return Images(images, torch.arange(3))


def built(make, monkeypatch: pytest.MonkeyPatch, *, width: int = WIDTH) -> Classifier:
    """The network as training begins with it; ``make(classes=, channels=, width=)`` can build it again."""
    monkeypatch.setitem(build.ARCHITECTURES, "under-test", make)
    net = build.build_network("under-test", classes=CLASSES, channels=1, width=width)
    build.choose_memory_format(net, as_float(few().images))
    return net


def examined(make, monkeypatch: pytest.MonkeyPatch, *, cfg: Recipe = RECIPE) -> Examination:
    return examine(built(make, monkeypatch), few(), cfg)


def random_removal(structure, seed: int) -> dict[str, torch.Tensor]:
    """Any number of channels of every group but all of them."""
    generator = torch.Generator().manual_seed(seed)
    removed = {}
    for group in structure.groups:
        number = int(torch.randint(0, group.channels, (1,), generator=generator))
        removed[group.root] = torch.randperm(group.channels, generator=generator)[:number]
    return removed


def masked_by_hand(net: nn.Module, structure, removed: dict[str, torch.Tensor], images: torch.Tensor):
    """Logits with channels set to 0 in a plain loop over hooks: independent of ``prune.channels.masking``."""

    def zeros(positions, gone):
        def hook(module, _, output):
            output = output.clone()
            last = isinstance(module, nn.Linear)
            for here, there in zip(positions.of_layer.tolist(), positions.of_group.tolist(), strict=True):
                if there in gone:
                    output[(..., here) if last else (slice(None), here)] = 0
            return output

        return hook

    handles = [
        net.get_submodule(name).register_forward_hook(
            zeros(group.outputs[name], set(removed[group.root].tolist()))
        )
        for group in structure.groups
        for name in group.masked_at
    ]
    with torch.no_grad():
        logits = net.eval()(images)
    for handle in handles:
        handle.remove()
    return logits
