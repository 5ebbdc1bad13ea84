"""Subject of an examination: the network of a recipe, and a few images to examine it with."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from eed_edge.errors import RecipeError
from eed_edge.pipeline.base_stage import new_base
from eed_edge.recipe import Recipe, load_recipe, recipe_names, recipe_of_network
from eed_edge.suggestions import did_you_mean
from eed_edge.train.data.batches import Images
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.networks.build import ARCHITECTURES, Classifier

FEW = 64
SHAPES = {"cifar10": (40_000, 5_000), "svhn": (58_605, 7_326)}
"""Numbers of train and tune images of the sets of 3×32×32 pixels and ten classes, with the usual division."""


@dataclass(frozen=True)
class Subject:
    """The recipe, images and sizes that a network is examined with.

    few: some training images.
    classes: number of classes.
    train, tune: numbers of images of these parts.
    """

    few: Images
    classes: int
    train: int
    tune: int


def recipe_of_subject(network: str, overrides: Sequence[str], root: Path | None) -> Recipe:
    """The recipe of a name or path, or the default recipe with the architecture of that name.

    Args:
        network: what ``net.arch`` may be, or a recipe's name or path.
        root: where the images lie; None takes the digits for an architecture.

    Raises:
        RecipeError: there is no such recipe, or an override that does not fit.
    """
    if network in ARCHITECTURES or (":" in network and not Path(network).exists()):
        return recipe_of_network(network, overrides, data=_data_name(root))
    if network not in recipe_names() and not Path(network).exists():
        known = [*ARCHITECTURES, *recipe_names()]
        meant = did_you_mean(network, known) or f": expected a TOML file or one of {', '.join(known)}"
        raise RecipeError(f"no network or recipe {network!r}{meant}")
    return load_recipe(network, overrides)


def _data_name(root: Path | None) -> str:
    """The kind of data set that lies at the path."""
    if root is None:
        return "digits"
    return "npz" if root.is_file() or (root / "train.npz").exists() else "folder"


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
