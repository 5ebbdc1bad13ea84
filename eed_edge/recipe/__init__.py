"""A recipe: everything that decides what a training run makes, as frozen dataclasses from one TOML file."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from eed_edge import schema
from eed_edge.errors import RecipeError
from eed_edge.recipe.recipe_section import RecipeSection
from eed_edge.recipe.sections import Data, Gate, Net, Prune, Recipe, Scores, Select
from eed_edge.recipe.toml_file import apply_overrides, read_table, recipe_names, set_field
from eed_edge.recipe.training_sections import Base, Distilled, Joint, Pool, Training

__all__ = [
    "Base",
    "Data",
    "Distilled",
    "Gate",
    "Joint",
    "Net",
    "Pool",
    "Prune",
    "Recipe",
    "RecipeSection",
    "Scores",
    "Select",
    "Training",
    "apply_overrides",
    "from_dict",
    "load_recipe",
    "read_table",
    "recipe_names",
    "recipe_of_network",
    "set_field",
]


def load_recipe(source: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of that name or path, with ``KEY=VALUE`` overrides such as ``base.epochs=2``.

    Raises:
        RecipeError: no such recipe, not TOML, an unknown key, or a value out of range.
    """
    return from_dict(read_table(source, overrides))


def recipe_of_network(arch: str, overrides: Sequence[str] = (), *, data: str = "digits") -> Recipe:
    """The default recipe with another network and data set.

    Raises:
        RecipeError: an override that does not fit.
    """
    table: dict[str, Any] = {"name": arch, "data": {"name": data}, "net": {"arch": arch}}
    apply_overrides(table, overrides)
    return from_dict(table)


def from_dict(table: dict[str, Any]) -> Recipe:
    """A checked recipe from nested dicts.

    Example:
        >>> recipe = from_dict({"base": {"eps_255": 4}})
        >>> recipe.base.eps_255, recipe.joint.eps_255  # pool and joint take over the base's radius
        (4.0, 4.0)

    Raises:
        RecipeError: an unknown key, a value of the wrong type or out of range.
    """
    base = table.get("base", {})
    if isinstance(base, dict) and "eps_255" in base:
        table = dict(table)
        for stage in ("pool", "joint"):
            section = table.get(stage, {})
            if isinstance(section, dict):
                table[stage] = {"eps_255": base["eps_255"], **section}
    for key in table:
        if places := _places_of(key):
            raise RecipeError(f"recipe: key {key!r} needs its section: {' or '.join(places)}")
    try:
        return schema.read_typed(Recipe, table, "recipe")
    except ValueError as error:
        raise RecipeError(f"{error}; fix the recipe or the --set override") from error


def _places_of(key: str) -> list[str]:
    """The sections' fields of that name, such as ``base.epochs``; none if the recipe itself has the name."""
    fields = dataclasses.fields(Recipe)
    if key in {field.name for field in fields}:
        return []
    sections = {field.name: field.type for field in fields if dataclasses.is_dataclass(field.type)}
    return [
        f"{name}.{key}"
        for name, section in sections.items()
        if key in {field.name for field in dataclasses.fields(section)}
    ]
