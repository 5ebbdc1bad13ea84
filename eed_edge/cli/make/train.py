"""``eed-edge train``: train a team of small networks from images."""

from pathlib import Path

import click

import eed_edge
from eed_edge.cli.completion_words import complete_recipe, complete_run
from eed_edge.cli.options import data_option, device_option, help_examples, max_minutes_option, set_option

STAGES = ("base", "pool", "select", "joint")


@click.command(
    "train",
    short_help="Train a team from a recipe and images, or resume.",
    epilog=help_examples(
        "eed-edge train digits-resnet18 --run run",
        "eed-edge train my-pictures.toml --data my-pictures --run run --set base.epochs=20",
    ),
)
@click.argument("recipe", shell_complete=complete_recipe)
@data_option
@click.option(
    "--run",
    "--run-folder",  # torchrun takes --run for its own --run-path
    "path",
    type=click.Path(path_type=Path),
    shell_complete=complete_run,
    required=True,
    help="Folder of this run; an unfinished one is resumed, also on another machine.",
)
@click.option(
    "--until", type=click.Choice(STAGES), default="joint", show_default=True, help="Stop after this stage."
)
@device_option()
@max_minutes_option
@click.option(
    "--compact",
    is_flag=True,
    help="Store base and candidates in half precision and continue with the rounded weights.",
)
@click.option(
    "--tensorboard", type=click.Path(path_type=Path), help="Write learning curves for TensorBoard here."
)
@set_option("base.epochs=2")
def command(
    recipe: str,
    root: Path | None,
    path: Path,
    until: str,
    device: str,
    max_minutes: float | None,
    compact: bool,
    tensorboard: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Train RECIPE: base, pool of pruned candidates, selection, joint training.

    RECIPE is a name (eed-edge list recipes) or the path of a TOML file. Run the same command again to
    resume a run that was stopped; the result is the same. SIGTERM and Ctrl-C write a checkpoint first. Under
    torchrun, several processes train base and team together and share the candidates.
    """
    from eed_edge import recipe as recipes
    from eed_edge.cli.display.resumable import resumable
    from eed_edge.cli.display.stage_tables import closing_lines, stage_table
    from eed_edge.train.system.tensorboard import curves

    loaded = recipes.load_recipe(recipe, overrides)
    with (
        resumable(path) as progress,
        curves(None if progress.silent else tensorboard) as curve_callbacks,
    ):
        run = eed_edge.train_team(
            loaded,
            root,
            run=path,
            until=until,
            device=device,
            max_minutes=max_minutes,
            compact=compact,
            callbacks=(*curve_callbacks, progress.training),
            on_stage_end=lambda stage, run: progress.print_line(stage_table(stage, run.path)),
        )
        for line in closing_lines(run, until):
            progress.print_line(line)
