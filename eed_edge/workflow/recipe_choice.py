"""The recipe of a training that is started from Python: a name, a file, fields, or a draft for the images."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from torch import nn

from eed_edge import recipe as recipes
from eed_edge.recipe import Recipe
from eed_edge.train.data.images_in_memory import ARRAYS, ImagesInMemory, dataset_in_memory, is_in_memory
from eed_edge.train.data.picture_survey import survey, survey_dataset
from eed_edge.train.data.recipe_draft import draft_recipe
from eed_edge.train.data.splits import ImagesSource, Splits
from eed_edge.train.networks.network_objects import register_network

RecipeLike: TypeAlias = Recipe | str | os.PathLike[str] | Mapping[str, Any] | None
"""A recipe, its name under models/, its file, its fields as nested dicts; None drafts one."""
Overrides: TypeAlias = Mapping[str, Any] | Sequence[str]
"""Such as ``{"base.epochs": 2}``, or ``["base.epochs=2"]`` as on the command line."""


def choose_recipe(
    recipe: RecipeLike, data: ImagesSource, *, overrides: Overrides = (), network: nn.Module | None = None
) -> Recipe:
    """The recipe of a training.

    Args:
        recipe, data, overrides, network: as in ``train_team``.

    Example:
        >>> choose_recipe("digits-resnet18", None, overrides={"base.epochs": 2}).base.epochs
        2

    Raises:
        RecipeError: no such recipe, an unknown key, or a value out of range.
        DataError: there is no recipe, and ``data`` is unfit to draft one for.
        NetworkError: ``network`` is no network.
    """
    table = _table(recipe, data)
    texts = [overrides] if isinstance(overrides, str) else overrides
    texts = () if isinstance(texts, Mapping) else texts
    recipes.apply_overrides(table, texts)
    values = dict(overrides) if isinstance(overrides, Mapping) else {}
    if is_in_memory(data) and not isinstance(data, Splits):
        values["data.name"] = ARRAYS
    if network is not None:
        values["net.arch"] = register_network(network)
    for key, value in values.items():
        recipes.set_field(table, key, value.item() if isinstance(value, np.generic) else value)
    return recipes.from_dict(table)


def _table(recipe: RecipeLike, data: ImagesSource) -> dict[str, Any]:
    """The recipe's fields before overrides, as nested dicts of its own."""
    if isinstance(recipe, Recipe):
        return recipe.as_dict()
    if isinstance(recipe, Mapping):
        return {key: dict(value) if isinstance(value, Mapping) else value for key, value in recipe.items()}
    if recipe is not None:
        return recipes.read_table(os.fspath(recipe))
    if data is None or isinstance(data, Splits):
        return recipes.read_table("digits-resnet18") if data is None else {}
    return tomllib.loads(_draft(data))


def _draft(data: str | os.PathLike[str] | ImagesInMemory) -> str:
    """What ``eed-edge init`` would write for the images."""
    if isinstance(data, (str, os.PathLike)):
        return draft_recipe(survey(Path(data)), title=Path(data).resolve().stem, attack="n-fgsm")
    return draft_recipe(
        survey_dataset(dataset_in_memory(data, None), kind=ARRAYS), title=ARRAYS, attack="n-fgsm"
    )
