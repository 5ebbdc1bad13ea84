"""``eed-edge list``: names that recipes and options take, a line each."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from eed_edge.cli.display.output import print_answer
from eed_edge.cli.measuring_command import MeasuringCommand
from eed_edge.cli.options import help_examples


def _recipes() -> dict[str, str]:
    """The first line of each recipe's file, which describes it."""
    from eed_edge.recipe import recipe_names
    from eed_edge.recipe.toml_file import recipe_path

    return {name: _first_comment(recipe_path(name)) for name in recipe_names()}


def _first_comment(path: Path) -> str:
    first = path.read_text().splitlines()[0]
    return first.removeprefix("# ").partition(". ")[0].rstrip(".:") if first.startswith("#") else ""


def _data_sets() -> Mapping[str, Any]:
    from eed_edge.train.data.splits import DATASETS

    return DATASETS


def _architectures() -> Mapping[str, Any]:
    from eed_edge.train.networks.build import ARCHITECTURES

    return ARCHITECTURES


def _scores() -> Mapping[str, Any]:
    from eed_edge.prune.importance import SCORES

    return SCORES


def _training_attacks() -> Mapping[str, Any]:
    from eed_edge.attacks.registry import TRAINING_ATTACKS

    return TRAINING_ATTACKS


def _attacks() -> Mapping[str, Any]:
    from eed_edge.attacks.registry import EVALUATION_ATTACKS

    return {name: type(attack) for name, attack in EVALUATION_ATTACKS.items()}


def _rules() -> Mapping[str, Any]:
    from eed_edge.gate_rules.rule_registry import GATE_RULES

    return {name: type(rule) for name, rule in GATE_RULES.items()}


KINDS: dict[str, tuple[str, Callable[[], Mapping[str, Any]]]] = {
    "recipes": ("eed-edge train RECIPE", _recipes),
    "data-sets": ("data.name", _data_sets),
    "architectures": ("net.arch, beside package.module:function and timm:NAME", _architectures),
    "scores": ("scores.names", _scores),
    "training-attacks": ("attack, in base, pool and joint", _training_attacks),
    "attacks": ("eed-edge attack --only ATTACK", _attacks),
    "rules": ("gate.rule, eed-edge run --rule", _rules),
}
"""Where names of this kind go, and the registry that has them."""


@click.command(
    "list",
    cls=MeasuringCommand,
    short_help="List recipes, data sets, networks, scores, attacks, rules.",
    epilog=help_examples("eed-edge list", "eed-edge list recipes"),
)
@click.argument("kind", metavar="[KIND]", type=click.Choice(list(KINDS)), required=False)
def command(kind: str | None) -> dict[str, dict[str, str]]:
    """List names that recipes and options take, with a line on each.

    KIND is recipes, data-sets, architectures, scores, training-attacks, attacks or rules; without it, all are
    listed. All but recipes and rules need the packages for training.
    """
    listed: dict[str, dict[str, str]] = {}
    for name in [kind] if kind else KINDS:
        place, entries = KINDS[name]
        listed[name] = {key: _line(entry) for key, entry in entries().items()}
        width = max(map(len, listed[name]), default=0)
        rows = [f"  {key:<{width}}  {line}" for key, line in listed[name].items()]
        print_answer("\n".join([*([] if name == next(iter(listed)) else [""]), f"{name} ({place})", *rows]))
    return listed


def _line(entry: Any) -> str:
    """Describe an entry: by its text, or by the first sentence of its docstring without markup."""
    text = entry if isinstance(entry, str) else (inspect.getdoc(entry) or "").partition("\n")[0]
    return text.replace("``", "")
