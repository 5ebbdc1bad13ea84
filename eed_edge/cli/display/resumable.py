"""Progress, signals and resume instructions for long-running commands."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eed_edge.cli.display.output import print_notice
from eed_edge.cli.display.progress import Progress, progress_display


@contextmanager
def resumable(folder: Path) -> Iterator[Progress]:
    """Show progress; when the time limit or a signal ends the work, say how to resume it.

    Args:
        folder: contains the checkpoint.

    Raises:
        SystemExit: 0 after the time limit, 128 plus its number after a signal.
    """
    from eed_edge.train.system.interruption import Interrupted, handled
    from eed_edge.train.system.time_limit import Paused

    with handled(), progress_display() as progress:
        try:
            yield progress
        except Paused as stop:
            progress.print_line(f"paused, {stop}; run the same command again to resume from {folder}")
            sys.exit(0)
        except Interrupted as stop:
            if not progress.silent:
                print_notice(f"{stop}; run the same command again to resume from {folder}")
            sys.exit(stop.exit_code)
