"""Subject of an examination: the network of a recipe, and a few images to examine it with."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from eed_edge.pipeline.base_stage import new_base
from eed_edge.recipe import Recipe
from eed_edge.train.data.batches import Images
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.networks.build import Classifier

FEW = 64
SHAPES = {"cifar10": (40_000, 5_000), "svhn": (58_605, 7_326)}
"""Numbers of train and tune images of the sets of 3×32×32 pixels and ten classes, with the usual division."""


@dataclass(frozen=True)
class Subject:
    """What a network is examined with.

    few: some training images.
    classes: number of classes.
    train, tune: numbers of images of these parts.
    """

    few: Images
    classes: int
    train: int
    tune: int


def subject_of(recipe: Recipe, root: Path | None) -> Subject:
    """A few images of the recipe's data set, or noise of their shape where no ``--data`` names it.

    Raises:
        DataError: files that are missing, damaged or unfit.
    """
    if root is None and recipe.data.name in SHAPES:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randint(0, 256, (FEW, 3, 32, 32), generator=generator, dtype=torch.uint8)
        train, tune = SHAPES[recipe.data.name]
        return Subject(Images(noise, torch.arange(FEW) % 10), 10, train, tune)
    splits = splits_for_recipe(recipe, root)
    few = Images(torch.from_numpy(splits.train.images[:FEW]), torch.from_numpy(splits.train.labels[:FEW]))
    return Subject(few, len(splits.classes), len(splits.train), len(splits.tune))


def examined_network(recipe: Recipe, subject: Subject) -> Classifier:
    """The recipe's network as training would begin with it, given weights included.

    Raises:
        CheckpointError: the weights of ``base.init`` do not fit.
        NetworkError: the network cannot be built or run.
    """
    with tempfile.TemporaryDirectory() as folder:
        net, _ = new_base(recipe, subject.classes, subject.few, Path(folder) / "none.state")
    return net
