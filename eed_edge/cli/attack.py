"""``eed-edge attack``: how many test images stay right, clean and under attack."""

from pathlib import Path

import click


@click.command("attack")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data", "root", type=click.Path(path_type=Path), help="Folder or file of the images; digits need none."
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    help="Attack this many test images, drawn by the recipe's seed; default all.",
)
@click.option(
    "--suite",
    type=click.Choice(["quick"]),
    default="quick",
    show_default=True,
    help="Which attacks: quick is PGD-20.",
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file too."
)
def command(
    run: Path, bundle: Path, root: Path | None, images: int | None, suite: str, json_file: Path | None
) -> None:
    """Attack the dense base, the static mean and the deployed rule of BUNDLE on test images.

    The dynamic figure counts an image only if the deployed rule is right on it clean and on the
    versions made against every prefix of the members. Figures go into RUN/report.json.
    """
    from eed_edge.cli.progress import shown
    from eed_edge.cli.tables import accuracy_table
    from eed_edge.evaluate.robustness import evaluate
    from eed_edge.files import write_json
    from eed_edge.train.run import open_run

    with shown() as progress:
        figures = evaluate(open_run(run), bundle, root, images=images, watch=progress.counting)
    if json_file is not None:
        write_json(json_file, figures)
    click.echo(accuracy_table(figures["accuracy"]))
