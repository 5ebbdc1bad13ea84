"""``eed-edge train``: from images to a jointly trained team of small networks."""

from pathlib import Path

import click

STAGES = ("base", "pool", "select", "joint")


@click.command("train")
@click.argument("recipe")
@click.option(
    "--data", "root", type=click.Path(path_type=Path), help="Folder or file of the images; digits need none."
)
@click.option(
    "--run",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of this run; an unfinished one goes on.",
)
@click.option(
    "--until", type=click.Choice(STAGES), default="joint", show_default=True, help="Stop after this stage."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a recipe field, such as base.epochs=2; repeatable.",
)
def command(
    recipe: str, root: Path | None, path: Path, until: str, device: str, overrides: tuple[str, ...]
) -> None:
    """Train RECIPE: base, pool of pruned candidates, selection, joint training.

    RECIPE is a name under models/ or the path of a TOML file. Called again with the same words,
    a run that was stopped at any moment goes on and ends as if it had not been.
    """
    from eed_edge import pipeline
    from eed_edge import recipe as recipes
    from eed_edge.cli.progress import shown
    from eed_edge.train import data

    chosen = recipes.load(recipe, overrides)
    splits = data.for_recipe(chosen, root)
    with shown() as progress:
        progress.say(
            f"{chosen.name}: {len(splits.train)} training images {splits.input.size},"
            f" {len(splits.classes)} classes, tune {len(splits.tune)}, calib {len(splits.calib)}"
        )
        run = pipeline.train(chosen, splits, path, until=until, device=device, watch=progress.training)
    if until == "joint":
        joint = run.joint()
        click.echo(f"team: {', '.join(joint['members'])}; robust diversity {joint['rd']:.3f}")
        click.echo(f"next: eed-edge export {path} BUNDLE")
    else:
        click.echo(f"done up to {until}; go on with --until joint")
