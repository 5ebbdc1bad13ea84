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
from eed_edge.cli.display.output import EscapedFormatter, print_notice
from eed_edge.errors import EedError

# In the order of the work: a room of this package and its modules, each with a click command ``command``.
ROOMS = {
    "prepare": ("demo", "data", "init", "inspect"),
    "make": ("train", "export"),
    "use": ("check", "run"),
    "measure": ("bench", "narrow", "single", "attack", "report"),
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

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run a command line and exit: 0 done, 1 failed, 2 usage error, 130 interrupted."""
        # Idle OpenMP threads of torch should sleep soon: else two busy processes slow each other tenfold.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
        if logging.lastResort is not None:  # prints the warnings of the library
            logging.lastResort.setFormatter(EscapedFormatter())
        words, debug = _without_debug(sys.argv[1:] if args is None else list(args))
        try:
            code = super().main(words, prog_name or "eed-edge", complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:  # usage error
            where = (
                error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "eed-edge"
            )
            text = " ".join(error.format_message().split())
            print_notice(f"error: {text.removesuffix('.')}; {where} --help tells what is expected")
            code = error.exit_code
        except BaseException as error:
            if debug or isinstance(error, SystemExit):
                raise
            code = _tell(error)
        sys.exit(code if isinstance(code, int) else 0)


def _without_debug(words: list[str]) -> tuple[list[str], bool]:
    """Remove ``--debug``, which may stand anywhere before ``--``; whether it was given."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"]
    debug = len(kept) < end or os.environ.get("EED_EDGE_DEBUG", "") not in ("", "0")
    return kept + words[end:], debug


def _tell(error: BaseException) -> int:
    """Print the error in one line and return the exit code."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        print_notice("interrupted")
        return 130
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        text = "out of memory; use fewer images or threads at once, or a machine with more"
    elif isinstance(error, ModuleNotFoundError):
        text = f"this command needs {error.name}, which is not installed; pip install 'eed-edge[train]'"
    elif isinstance(error, OSError) and not isinstance(error, EedError):
        where = f" {error.filename}" if error.filename else ""
        text = f"the system refused{where}: {error.strerror or text}; check the path, rights and free space"
    elif not isinstance(error, EedError):
        text = f"unexpected {type(error).__name__}: {text}; run again with --debug and report what it prints"
    print_notice(f"error: {text}")
    return 1


@click.group(cls=EedGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(eed_edge.__version__, prog_name="eed-edge")
@click.option("--debug", is_flag=True, help="Show the traceback of an error (or set EED_EDGE_DEBUG=1).")
def main(debug: bool) -> None:
    """Turn an image classifier into a small, hard-to-fool, early-stopping ensemble for edge CPUs.

    Exit codes: 0 done, 1 failed (one line says why), 2 usage error.
    """
