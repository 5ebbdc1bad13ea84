"""Progress, signals and resume instructions for long-running commands."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eed_edge.cli.display.output import print_notice
from eed_edge.cli.display.progress import Progress, progress_display
from eed_edge.cli.display.tables import command_line


@contextmanager
def resumable(folder: Path) -> Iterator[Progress]:
    """Show progress; when the time limit or a signal ends the work, say what is kept and how to resume it.

    Args:
        folder: the run folder, which contains the checkpoint.

    Raises:
        SystemExit: 0 after the time limit, 128 plus its number after a signal.
    """
    from eed_edge.train.system.interruption import Interrupted, handled
    from eed_edge.train.system.time_limit import Paused

    with handled(), progress_display() as progress:
        try:
            yield progress
        except Paused as stop:
            progress.print_line(f"paused, {stop}; {_saved_parts(folder)}; resume with: {command_line()}")
            sys.exit(0)
        except Interrupted as stop:
            if not progress.silent:
                print_notice(f"{stop}; {_saved_parts(folder)}; resume with: {command_line()}")
            sys.exit(stop.exit_code)


@contextmanager
def keeping(what: str, *, again: str = "resume") -> Iterator[None]:
    """When Ctrl-C ends the work, print that ``what`` is kept and how to resume.

    Args:
        again: what running the same command again does.

    Raises:
        SystemExit: 130 after Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        print_notice(f"interrupted; {what}; {again} with: {command_line()}")
        sys.exit(130)


def _saved_parts(folder: Path) -> str:
    """List what a run folder has: finished stages, the number of candidates, and the stage under way."""
    parts = ["base"] if (folder / "base.safetensors").exists() else []
    candidates = [path for path in folder.glob("pool/*.safetensors") if not path.stem.endswith("-last")]
    parts += [f"{len(candidates)} candidates"] if candidates else []
    parts += [name for name in ("selection", "joint") if (folder / f"{name}.json").exists()]
    under_way = sorted(path.stem for path in (*folder.glob("*.state"), *folder.glob("pool/*.state")))
    parts += [f"{name} as far as it is trained" for name in under_way]
    parts += sorted(f"{path.parent.name}/" for path in folder.glob("*/run.json"))
    return f"kept in {folder}: {', '.join(parts)}" if parts else f"nothing to keep in {folder} yet"
