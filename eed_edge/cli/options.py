"""Arguments and options that several commands share."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from eed_edge.cli.completion_words import complete_bundle, complete_override, complete_run
from eed_edge.gate_rules.rule_names import Rule

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
PATH = click.Path(path_type=Path)
THREADS = click.IntRange(1, 1024)  # the same limits as in eed_edge.load
GATE_RULE = click.Choice(get_args(Rule))


class NumberRange(click.FloatRange):
    """A range of numbers without NaN, which click's accepts.

    Args:
        infinite: infinity is accepted.
    """

    def __init__(self, *args: Any, infinite: bool = False, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._infinite = infinite

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; anything else is a usage error."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number) or (math.isinf(number) and not self._infinite):
            self.fail(f"expected a number, got {value}", param, ctx)
        return number


def _in_order(ctx: click.Context, parameter: click.Parameter, bundle: Path | None) -> Path | None:
    """Refuse a bundle in the place of RUN and a run in that of BUNDLE."""
    run = ctx.params.get("run")
    if run and bundle and (run / "manifest.json").is_file() and (bundle / "run.json").is_file():
        raise click.UsageError(f"RUN comes before BUNDLE, got the bundle {run} before the run {bundle}", ctx)
    return bundle


run_argument: Decorator = click.argument("run", type=PATH, shell_complete=complete_run)
bundle_argument: Decorator = click.argument(
    "bundle", type=PATH, callback=_in_order, shell_complete=complete_bundle
)
optional_bundle_argument: Decorator = click.argument(
    "bundle", type=PATH, required=False, callback=_in_order, shell_complete=complete_bundle
)

data_option: Decorator = click.option(
    "--data", "root", type=PATH, help="Folder or file of the images; digits need none."
)
max_minutes_option: Decorator = click.option(
    "--max-minutes",
    type=NumberRange(min=0, infinite=True),
    help="Pause at a checkpoint after this many minutes of work.",
)


def help_examples(*lines: str) -> str:
    """The end of a command's help: command lines to copy."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def device_option(text: str = "Where the networks run.") -> Decorator:
    """``--device``, with a help text that suits the command."""
    return click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help=text,
    )


def set_option(example: str) -> Decorator:
    """``--set KEY=VALUE`` as ``overrides``, with an example that suits the command."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        shell_complete=complete_override,
        help=f"Override a recipe field, such as {example}; repeatable.",
    )
