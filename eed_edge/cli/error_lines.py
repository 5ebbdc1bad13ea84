"""Print failures as one line on standard error, and give each an exit code."""

import click

from eed_edge.cli.display.output import print_notice
from eed_edge.errors import EedError, how_to_install


def print_usage_error(error: click.ClickException) -> int:
    """Print what is wrong with the call and where its help is; return the exit code."""
    where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "eed-edge"
    text = " ".join(error.format_message().split())
    print_notice(f"error: {text.removesuffix('.')}; {where} --help tells what is expected")
    return error.exit_code


def print_failure(error: BaseException) -> int:
    """Print what failed and what to do; return the exit code."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        print_notice("interrupted")
        return 130
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        text = "out of memory; use fewer images or threads at once, or a machine with more"
    elif isinstance(error, ModuleNotFoundError):
        text = f"this command needs {error.name}, which is not installed; {how_to_install('train')}"
    elif isinstance(error, OSError) and not isinstance(error, EedError):
        where = f" {error.filename}" if error.filename else ""
        text = f"the system refused{where}: {error.strerror or text}; check the path, rights and free space"
    elif not isinstance(error, EedError):
        text = f"unexpected {type(error).__name__}: {text}; run again with --debug and report what it prints"
    print_notice(f"error: {text}")
    return 1
