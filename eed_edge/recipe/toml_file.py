"""Find and read recipe files, and apply the overrides of ``--set``."""

import re
import sysconfig
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eed_edge.errors import RecipeError
from eed_edge.files.regular_files import read_regular
from eed_edge.printable import to_copy
from eed_edge.suggestions import did_you_mean

_LARGEST_RECIPE = 2**20  # bytes
_MOST_DOTS = 64  # in one key; the parser's work grows with their square


def read_table(source: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The table of that name or path, with ``KEY=VALUE`` overrides such as ``base.epochs=2``.

    Raises:
        RecipeError: no such recipe, not TOML, or an override that does not fit.
    """
    path = recipe_path(source)
    try:
        text = read_regular(path, most_bytes=_LARGEST_RECIPE).decode("utf-8-sig")  # a BOM is skipped
        if max(part.count(".") for part in re.split("[\n,=]", text)) > _MOST_DOTS:
            raise ValueError(f"a key of more than {_MOST_DOTS} parts")
        table = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"recipe {path}: expected a TOML file, got one that is no UTF-8 text; fix it"
        ) from error
    except (OSError, ValueError, RecursionError) as error:  # the parser recurses
        raise RecipeError(f"recipe {path}: expected a TOML file, got: {error}; fix it") from error
    apply_overrides(table, overrides)
    table.setdefault("name", path.parent.name if path.name == "recipe.toml" else path.stem)
    return table


def apply_overrides(table: dict[str, Any], overrides: Sequence[str]) -> None:
    """Change a recipe's table in place by ``KEY=VALUE`` texts.

    Raises:
        RecipeError: one does not fit.
    """
    for override in overrides:
        _apply(table, override)


def recipe_names() -> list[str]:
    """The recipes that can be given by name, in alphabetical order."""
    return sorted({path.parent.name for folder in _folders() for path in folder.glob("*/recipe.toml")})


def _folders() -> list[Path]:
    """Where models/ may lie: the source tree, or the data folder of an installation."""
    above = Path(__file__).resolve().parents[2]
    shares = (above, Path(sysconfig.get_path("data")), Path(sysconfig.get_path("data", "posix_user")))
    if (above / "setup.cfg").is_file():
        return [above / "models"]
    return [folder / "share" / "eed-edge" / "models" for folder in shares]


def recipe_path(source: str) -> Path:
    """The file of the recipe of that name or path.

    Raises:
        RecipeError: there is none.
    """
    for folder in _folders():
        if (path := folder / source / "recipe.toml").is_file() and "/" not in source:
            return path
    path = Path(source)
    if path.is_dir() and not (path / "recipe.toml").is_file():
        raise RecipeError(
            f"{source}: expected a recipe, got a folder without recipe.toml; for a folder of pictures,"
            f" {to_copy('init', source)} writes one"
        )
    if path.is_dir():
        path = path / "recipe.toml"
    if not path.is_file():
        neighbours = [str(other) for other in path.parent.glob("*.toml")]
        meant = did_you_mean(source, [*recipe_names(), *neighbours])
        known = "" if meant else f": {', '.join(recipe_names()) or 'none installed'}"
        raise RecipeError(f"no recipe {source!r}{meant}: expected a TOML file or a recipe's name{known}")
    return path


def _apply(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {override!r}: expected KEY=VALUE, such as base.epochs=2")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()  # a bare word is a string
    set_field(table, key.strip(), value)


def set_field(table: dict[str, Any], key: str, value: Any) -> None:
    """Set one field of a recipe's table in place, such as ``base.epochs``.

    Raises:
        RecipeError: a section of the key is a value in the table.
    """
    *sections, last = key.split(".")
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise RecipeError(f"{key}: {section!r} is a value, not a section; give KEY as in base.epochs")
    table[last] = value
