"""Words that a shell completes: recipes, recipe fields, runs, bundles, attacks and suites."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem


def complete_recipe(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Recipes by name and TOML files; where none fits, files."""
    from eed_edge.recipe import recipe_names

    files = [str(path) for path in _folder_entries(incomplete) if path.suffix == ".toml"]
    return [CompletionItem(incomplete, type="file"), *_starting([*recipe_names(), *files], incomplete)]


def complete_override(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Recipe fields, such as ``base.epochs=``."""
    import dataclasses

    from eed_edge.recipe import Recipe

    names = []
    for section in dataclasses.fields(Recipe):
        fields = dataclasses.fields(section.type) if dataclasses.is_dataclass(section.type) else ()
        names += [f"{section.name}.{field.name}=" for field in fields] or [f"{section.name}="]
    return _starting(names, incomplete)


def complete_run(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Folders of runs; where none fits, folders."""
    return _folders_with("run.json", incomplete)


def complete_bundle(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Folders of bundles; where none fits, folders."""
    return _folders_with("manifest.json", incomplete)


def complete_attack(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Attacks that report on test images."""
    from eed_edge.report.names import ATTACKS, NOT_IN_SUITES

    return _starting([name for name in ATTACKS if name not in NOT_IN_SUITES], incomplete)


def complete_suite(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Suites of an evaluation."""
    return _starting(("quick", "standard", "clean"), incomplete)


def _starting(words: Sequence[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def _folders_with(file: str, incomplete: str) -> list[CompletionItem]:
    matches = [str(path) for path in _folder_entries(incomplete) if (path / file).is_file()]
    return [CompletionItem(incomplete, type="dir"), *_starting(matches, incomplete)]


def _folder_entries(incomplete: str) -> Iterable[Path]:
    """The entries of the folder in which an incomplete path ends."""
    place = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    try:
        return sorted(place.iterdir())
    except OSError:
        return []
