"""``eed-edge profile``: measure how long each layer of a network takes here at each width."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eed_edge.cli.display.output import print_answer, print_notice
from eed_edge.cli.display.progress import progress_display
from eed_edge.cli.options import PATH, data_option, help_examples, set_option
from eed_edge.printable import to_copy

if TYPE_CHECKING:
    from eed_edge.latency.latency_table import LatencyTable


@click.command(
    "profile",
    short_help="Measure how long each layer takes here.",
    epilog=help_examples(
        "eed-edge profile cifar10-resnet18 --out here.json",
        "eed-edge profile cifar10-resnet18 --networks networks",
        "eed-edge profile networks --out device.json",
    ),
)
@click.argument("source", metavar="RECIPE|RUN|ARCH|NETWORKS")
@click.option("--out", type=PATH, help="Measure, and write the latency table to this file.")
@click.option("--networks", type=PATH, help="Write the networks to this folder, to be measured on a device.")
@click.option("--int8", is_flag=True, help="Networks in int8, as eed-edge export --int8 makes them.")
@click.option(
    "--number", type=click.IntRange(min=4), default=24, show_default=True, help="Number of networks."
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads per call.")
@click.option(
    "--rounds", type=click.IntRange(min=1), default=4, show_default=True, help="Rounds of measurement."
)
@data_option
@set_option("prune.round_to=16")
def command(
    source: str,
    out: Path | None,
    networks: Path | None,
    int8: bool,
    number: int,
    threads: int,
    rounds: int,
    root: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Measure how long each layer takes at each width on this machine, for prune.latency_table.

    A RECIPE, a RUN or an ARCH, as for eed-edge inspect, gives networks of its architecture at many widths.
    NETWORKS is a folder that --networks has written; measuring it needs no torch, so a device can do it.
    """
    from eed_edge.atomic_files import check_place
    from eed_edge.latency.ladder_index import INDEX

    if out is None and networks is None:
        raise click.UsageError("give --out to measure here, or --networks to write a folder for a device")
    if out is not None:
        check_place(out)
    with progress_display() as progress, tempfile.TemporaryDirectory() as place:
        folder = Path(source)
        if not (folder / INDEX).is_file():
            folder = networks or Path(place, "networks")
            _write(source, folder, int8=int8, number=number, root=root, overrides=overrides)
            if networks is not None:
                following = to_copy("profile", folder, "--out", "TABLE")
                print_answer(f"{folder}: {number} networks; on the device: {following}")
        elif networks is not None:
            raise click.UsageError(f"{source} is a folder of networks already; leave --networks out")
        if out is not None:
            from eed_edge.latency.latency_table import write_latency_table
            from eed_edge.runtime.measure.layer_profile import profile_folder

            def on_progress(done: int, total: int) -> None:
                progress.counting("profile", done, total)

            table = profile_folder(folder, threads=threads, rounds=rounds, on_progress=on_progress)
            write_latency_table(out, table)
            for line in table_lines(out, table):
                print_answer(line)


def _write(
    source: str, folder: Path, *, int8: bool, number: int, root: Path | None, overrides: tuple[str, ...]
) -> None:
    """Write networks of a run's base, or of a recipe's network before training."""
    from eed_edge.examine.subject import examined_network, recipe_of_subject, subject_of
    from eed_edge.export.ladder_networks import write_ladder
    from eed_edge.train.data.batches import as_float
    from eed_edge.train.run_folder import open_run

    if (Path(source) / "run.json").is_file():
        import torch

        run = open_run(Path(source))
        net, image, recipe = run.base(), torch.zeros(1, *run.input.size), run.recipe
    else:
        recipe = recipe_of_subject(source, overrides, root)
        subject = subject_of(recipe, root)
        net, image = examined_network(recipe, subject), as_float(subject.few.images[:1])
    print_notice(f"writing {number} networks")
    write_ladder(net, image, folder, recipe=recipe, number=number, int8=int8)


def table_lines(out: Path, table: "LatencyTable") -> list[str]:
    """The slowest layers, how far predictions are off, and the conditions of the measurement."""
    total = sum(layer.ms[-1][-1] for layer in table.layers)
    lines = [f"{'layer':<40}{'in':>6}{'out':>6}{'ms':>9}{'share':>7}"]
    lines += [
        f"{layer.name:<40}{layer.inputs[-1]:>6}{layer.outputs[-1]:>6}{layer.ms[-1][-1]:>9.4f}"
        f"{layer.ms[-1][-1] / total:>7.1%}"
        for layer in table.layers
    ]
    held = table.held_out
    lines += [
        f"{table.arch} in {table.precision} on {table.cpu}: {table.dense_ms:.3f} ms unpruned",
        f"{held.networks} networks left out of the fit were predicted within {held.median:.1%} in the"
        f" median, {held.worst:.1%} at worst",
        table.conditions,
        f"{out}: for prune.latency_table, with prune.latency_ms or prune.latency_share",
    ]
    return lines
