"""``eed-edge shapes``: compare a single network and teams of several sizes at one mean time."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eed_edge.cli.completion_words import complete_recipe
from eed_edge.cli.measuring_command import MeasuringCommand
from eed_edge.cli.options import (
    NumberRange,
    data_option,
    device_option,
    help_examples,
    max_minutes_option,
    set_option,
)
from eed_edge.printable import to_copy

if TYPE_CHECKING:
    from eed_edge.workflow.compare_shapes import Shapes


@click.command(
    "shapes",
    cls=MeasuringCommand,
    short_help="Train teams of 1, 2, … members at one mean time and compare them.",
    epilog=help_examples(
        "eed-edge shapes my-pictures.toml --data my-pictures --out shapes",
        "eed-edge shapes digits-resnet18 --out shapes --sizes 1,2 --share 0.1",
    ),
)
@click.argument("recipe", shell_complete=complete_recipe)
@data_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the runs; an unfinished one resumes.",
)
@click.option("--sizes", default="1,2,3,4", show_default=True, help="Numbers of members, 1 among them.")
@click.option(
    "--share",
    type=NumberRange(0, 1, min_open=True, max_open=True),
    help="Size of the single network as a share of the base's [default: 1.5 times prune.member_share].",
)
@click.option(
    "--mean-ms",
    type=NumberRange(0, min_open=True),
    help="Instead: its milliseconds by the recipe's prune.latency_table.",
)
@device_option()
@max_minutes_option
@set_option("base.epochs=2")
def command(
    recipe: str,
    root: Path | None,
    out: Path,
    sizes: str,
    share: float | None,
    mean_ms: float | None,
    device: str,
    max_minutes: float | None,
    overrides: tuple[str, ...],
) -> dict[str, Any]:
    """Train a team of each size for RECIPE on one base and compare them on tune images.

    A single network and larger teams get the same mean time: members of a team have two thirds of the single
    network's size, and the gate's threshold is set to match. The best team classifies the most images
    correctly, under attack if the recipe attacks. Its run folder is printed, for eed-edge export. Run the
    same command again to resume.
    """
    import dataclasses

    from eed_edge import recipe as recipes
    from eed_edge.cli.display.output import print_answer
    from eed_edge.cli.display.resumable import resumable
    from eed_edge.cli.display.stage_tables import stage_table
    from eed_edge.workflow.compare_shapes import compare_shapes

    loaded = recipes.load_recipe(recipe, overrides)
    numbers = _numbers(sizes)
    with resumable(out) as progress:
        shapes = compare_shapes(
            loaded,
            root,
            out=out,
            sizes=numbers,
            share=share,
            mean_ms=mean_ms,
            device=device,
            max_minutes=max_minutes,
            callbacks=(progress.training,),
            on_stage_end=lambda stage, run: progress.print_line(stage_table(stage, run.path)),
        )
    print_answer(_table(shapes))
    return {"best": str(shapes.best), "rows": [dataclasses.asdict(row) for row in shapes.rows]}


def _numbers(sizes: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in sizes.split(","))
    except ValueError:
        raise click.BadParameter(
            f"expected numbers such as 1,2,3, got {sizes!r}", param_hint="--sizes"
        ) from None


def _table(shapes: "Shapes") -> str:
    heads = ("members", "parameters", "MACs", "mean ms", "worst ms", "clean %", "attacked %")
    lines = ["".join(f"{head:>14}" for head in heads)]
    for row in shapes.rows:
        attacked = "-" if row.attacked is None else f"{100 * row.attacked:.1f}"
        cells = (
            f"{row.members}", f"{row.params:,}", f"{row.macs:,}", f"{row.mean_ms:.3f}", f"{row.ms[-1]:.3f}",
            f"{100 * row.clean:.1f}", attacked,
        )  # fmt: skip
        lines.append("".join(f"{cell:>14}" for cell in cells))
    following = to_copy("export", shapes.best, "bundle")
    return "\n".join([*lines, f"best on tune: {shapes.best}; next: {following}"])
