"""``eed-edge attack``: how many test images stay right, clean and under attack."""

from pathlib import Path

import click

from eed_edge.cli.tables import command_line


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
    "suite_name",
    default="quick",
    show_default=True,
    metavar="quick|standard",
    help="quick: PGD-20 and a short APGD. standard: PGD-20, AutoAttack, C&W, DeepFool.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="ATTACK",
    help="Run only this attack of the suite, and nothing beside accuracy; repeatable.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the attacks run; the deployed rule runs on the CPU.",
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file too."
)
def command(
    run: Path,
    bundle: Path,
    root: Path | None,
    images: int | None,
    suite_name: str,
    only: tuple[str, ...],
    device: str,
    json_file: Path | None,
) -> None:
    """Attack the dense base, the static mean and the deployed rule of BUNDLE on test images.

    The dynamic figure counts an image only if the deployed rule is right on it clean and on the
    versions made against every prefix of the members; the adaptive one adds transfer, reweighting and
    a smooth gate. Figures go into RUN/report.json. A call that was stopped goes on where it was;
    torchrun shares the images out over its processes.
    """
    from eed_edge.atomic_files import write_json
    from eed_edge.cli.progress import progress_display
    from eed_edge.cli.tables import accuracy_table, beside_lines
    from eed_edge.evaluate.evaluate import evaluate
    from eed_edge.train.run_folder import open_run

    with progress_display() as progress:
        figures = evaluate(
            open_run(run),
            bundle,
            root,
            images=images,
            suite_name=suite_name,
            only=only,
            device=device,
            command=command_line(),
            on_progress=progress.counting,
        )
    if not figures:
        return  # one of torchrun's other processes
    if json_file is not None:
        write_json(json_file, figures)
    click.echo(accuracy_table(figures["accuracy"]))
    for kind, told in figures["attacks"].items():
        for warning in told["warnings"]:
            click.echo(f"{kind}: AutoAttack warns: {warning}")
    for line in beside_lines(figures):
        click.echo(line)
