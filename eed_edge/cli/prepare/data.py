"""``eed-edge data``: download or verify a public data set."""

import sys
from collections.abc import Callable
from pathlib import Path

import click

from eed_edge.cli.display.output import is_terminal, print_answer, print_notice, print_progress
from eed_edge.cli.options import help_examples


@click.command(
    "data",
    short_help="Download or verify a public data set.",
    epilog=help_examples("eed-edge data cifar10 --root data"),
)
@click.argument("name", type=click.Choice(["cifar10", "svhn", "digits"]))
@click.option(
    "--root", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the files."
)
def command(name: str, root: Path) -> None:
    """Download the official files of a data set, or verify those already in --root.

    Files with the right checksum are kept, and no network is used when all have it.
    """
    from eed_edge.cli.display.resumable import keeping
    from eed_edge.train.data.download import download_dataset

    with keeping(f"files that are complete are kept in {root}"):
        done = download_dataset(name, root, progress=_progress(every=1 if is_terminal(sys.stderr) else 25))
    print_answer(done)


def _progress(every: int) -> Callable[[str, int, int], None]:
    """Show a download on stderr: on a terminal one moving line, elsewhere a line per quarter."""
    shown: dict[str, int] = {}

    def show(file: str, done: int, total: int) -> None:
        percent = 100 * done // total if total else 0
        step = percent // every
        if shown.get(file) == step:
            return
        shown[file] = step
        line = f"{file}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
        if every == 1:
            print_progress(line, last=done >= total)
        else:
            print_notice(line)

    return show
