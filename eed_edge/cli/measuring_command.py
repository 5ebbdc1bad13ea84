"""Base class of measuring commands: ``--json`` writes the figures that a command returns."""

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from eed_edge.cli.display.output import print_figures

STDOUT = Path("-")
SUFFIX = ".json"


class MeasuringCommand(click.Command):
    """A command that returns its figures, a dict, and has ``--json``.

    ``--json`` prints them on standard output, and whatever else the command prints goes to standard error.
    ``--json FILE.json`` writes them to that file, beside what the command prints.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        option = click.Option(
            ["--json", "json_to"],
            type=click.Path(path_type=Path),
            metavar=f"[FILE{SUFFIX}]",
            help=f"Print the result as JSON on standard output, or write it to FILE{SUFFIX}.",
        )
        self.params.append(option)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words; a word behind ``--json`` belongs to it only if it ends in ``.json``."""
        words, end = [], args.index("--") if "--" in args else len(args)
        place = 0
        while place < end:
            word = args[place]
            place += 1
            if word == "--json":
                named = place < end and args[place].endswith(SUFFIX)
                word = f"--json={args[place] if named else STDOUT}"
                place += named
            words.append(word)
        try:
            return super().parse_args(ctx, words + args[end:])
        except click.UsageError as error:
            if f"--json={STDOUT}" in words and "extra argument" in error.message:
                text = f"{error.message}; a file behind --json has a name that ends in {SUFFIX}"
                raise click.UsageError(text, ctx) from error
            raise

    def invoke(self, ctx: click.Context) -> None:
        """Run the command and write its figures; under torchrun, processes without figures write nothing."""
        from eed_edge.atomic_files import check_place, write_json

        target = ctx.params.pop("json_to")
        if target not in (None, STDOUT):
            check_place(target)
        with contextlib.redirect_stdout(sys.stderr) if target == STDOUT else contextlib.nullcontext():
            figures = super().invoke(ctx)
        if figures and target == STDOUT:
            print_figures(figures)
        elif figures and target is not None:
            write_json(target, figures)
