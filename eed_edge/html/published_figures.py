"""The paper's published figures, for comparison on the same data set and architecture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eed_edge.report import formats

WIDTH = 64
SPARSITY = 0.8
EPS_255 = 8.0


@dataclass(frozen=True)
class Published:
    """Results of one architecture in the paper at 80 % sparsity: accuracy by attack, for dense and EED.

    speed: the paper's speed-up of EED over dense; its timing method is not given.
    """

    title: str
    dense: Mapping[str, float]
    eed: Mapping[str, float]
    speed: float


def _row(title: str, dense: tuple[float, ...], eed: tuple[float, ...], speed: float) -> Published:
    names = ("clean", "pgd20", "autoattack", "cw", "deepfool")
    dense_shares, eed_shares = (
        {name: value / 100 for name, value in zip(names, row, strict=True)} for row in (dense, eed)
    )
    return Published(title, dense_shares, eed_shares, speed)


# Jung and Song, "Two is Better than One", CVPR 2025, arXiv 2504.04747, in the order of ``_row``.
FIGURES = {
    ("resnet18", "cifar10"): _row(
        "ResNet-18, CIFAR-10",
        (87.05, 56.14, 48.02, 57.60, 53.10),
        (86.13, 55.71, 48.13, 57.03, 51.97),
        1.86,
    ),
    ("resnet18", "svhn"): _row(
        "ResNet-18, SVHN",
        (93.37, 56.27, 50.14, 58.85, 59.80),
        (93.15, 55.74, 50.18, 58.37, 56.05),
        1.85,
    ),
    ("vgg16", "cifar10"): _row(
        "VGG-16, CIFAR-10",
        (82.70, 54.49, 48.52, 54.91, 56.91),
        (81.39, 54.26, 47.49, 53.27, 53.94),
        1.79,
    ),
    ("vgg16", "svhn"): _row(
        "VGG-16, SVHN",
        (93.06, 57.64, 52.28, 55.36, 61.49),
        (93.14, 57.19, 51.49, 53.12, 60.27),
        1.77,
    ),
}


def published(recipe: Mapping[str, Any] | None) -> Published | None:
    """The paper's results for the recipe's architecture and data set, if any."""
    if recipe is None:
        return None
    return FIGURES.get((recipe["net"]["arch"], recipe["data"]["name"]))


def note(recipe: Mapping[str, Any] | None) -> str:
    """A note on comparing with the paper."""
    if recipe is None:
        return "The report does not name its recipe, so the paper's figures cannot be put beside it."
    figures, net = published(recipe), recipe["net"]
    if figures is None:
        return (
            f"The paper (EED, arXiv 2504.04747) has no figures for {net['arch']} on {recipe['data']['name']};"
            " it has ResNet-18 and VGG-16 on CIFAR-10 and SVHN."
        )
    text = (
        f"Paper: EED, arXiv 2504.04747, {figures.title}, full-size network (width {WIDTH}), sparsity"
        f" {formats.percent(SPARSITY)}, eps {EPS_255:g}/255, no intervals given; its C&W is l∞, its DeepFool"
        f" l2, its speed-up {formats.times(figures.speed)} by a method that it does not describe."
    )
    others = []
    if net["width"] != WIDTH:
        others.append(f"a network of width {net['width']}")
    if (eps := recipe["base"]["eps_255"]) != EPS_255:
        others.append(f"eps {eps:g}/255")
    return text + (f" This run has {' and '.join(others)}: not the same task." if others else "")
