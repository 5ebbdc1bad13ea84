"""The command ``eed-edge``: one module per command, imported on demand; errors in one line."""

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

import eed_edge
from eed_edge.cli.display.output import EscapedFormatter, FirstTimeOnly, print_answer
from eed_edge.cli.error_lines import print_failure, print_usage_error
from eed_edge.suggestions import did_you_mean

# Subpackages in the order of the work, and their modules, each with a click command ``command``.
ROOMS = {
    "prepare": ("demo", "data", "init", "list", "inspect", "profile", "completion"),
    "make": ("train", "shapes", "export"),
    "use": ("check", "run", "web"),
    "measure": ("bench", "narrow", "single", "attack", "report"),
}
TITLES = {
    "prepare": "Prepare",
    "make": "Train and export",
    "use": "Use a bundle",
    "measure": "Measure and compare",
}
COMMANDS = {name: f"{__name__}.{room}.{name}" for room, names in ROOMS.items() for name in names}


class EedGroup(click.Group):
    """Load commands by module name; print every failure as one line on stderr and set the exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands whose module is installed."""
        return [name for name, module in COMMANDS.items() if importlib.util.find_spec(module)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name; only its own module is imported."""
        if name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(COMMANDS[name]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first word names; the error for an unknown word suggests one."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            meant = did_you_mean(name, self.list_commands(ctx))
            raise click.UsageError(f"No such command {name!r}{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by subpackage, then the options of the group."""
        listed = self.list_commands(ctx)
        width = max(map(len, listed))
        for room, names in ROOMS.items():
            rows = [
                (name.ljust(width), command.get_short_help_str(limit=100))
                for name in names
                if name in listed and (command := self.get_command(ctx, name))
            ]
            if rows:
                with formatter.section(TITLES[room]):
                    formatter.write_dl(rows)
        click.Command.format_options(self, ctx, formatter)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run a command line and exit: 0 done, 1 failed, 2 usage error, 130 interrupted."""
        if logging.lastResort is not None:  # prints the warnings of the library
            logging.lastResort.setFormatter(EscapedFormatter())
            logging.lastResort.filters = [FirstTimeOnly()]
        words, debug = _without_debug(sys.argv[1:] if args is None else list(args))
        if words[:1] == ["help"]:  # as in git and uv
            words = [*words[1:], "--help"]
        try:
            if "" in words:
                raise click.UsageError("expected words, got an empty one; a shell variable may be unset")
            extra = {"obj": tuple(words), **extra}  # for ``command_line``
            code = super().main(words, prog_name or "eed-edge", complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:
            code = print_usage_error(error)
        except BaseException as error:
            if debug or isinstance(error, SystemExit):
                raise
            code = print_failure(error)
        sys.exit(code if isinstance(code, int) else 0)


def _without_debug(words: list[str]) -> tuple[list[str], bool]:
    """Return the words without ``--debug``, which may stand anywhere before ``--``, and whether to debug."""
    end = words.index("--") if "--" in words else len(words)
    remaining = [word for word in words[:end] if word != "--debug"]
    debug = len(remaining) < end or os.environ.get("EED_EDGE_DEBUG", "") not in ("", "0")
    return remaining + words[end:], debug


@click.group(
    cls=EedGroup,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  eed-edge demo                                    every step, on images that need no download
  eed-edge init my-pictures                        a recipe for one folder of pictures per class
  eed-edge train my-pictures.toml --data my-pictures --run run
  eed-edge export run bundle
  eed-edge run bundle cat.png

Exit codes: 0 done, 1 failed (one line says why), 2 usage error.""",
)
@click.version_option(eed_edge.__version__, "--version", "-V", prog_name="eed-edge")
@click.option("--debug", is_flag=True, help="Show the traceback of an error (or set EED_EDGE_DEBUG=1).")
@click.pass_context
def main(ctx: click.Context, debug: bool) -> None:
    """Train a team of small image classifiers that stops early and is hard to fool, for edge CPUs."""
    if ctx.invoked_subcommand is None:
        print_answer(ctx.get_help())
        ctx.exit(2)
