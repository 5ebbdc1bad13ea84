"""``eed-edge report``: what is known of a run and its bundle, in one table."""

from pathlib import Path

import click


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
def command(run: Path, bundle: Path) -> None:
    """Print the figures of RUN and BUNDLE that attack, bench and train have found."""
    from eed_edge.cli.tables import whole_table
    from eed_edge.errors import CheckpointError
    from eed_edge.runtime.bundle import open_bundle
    from eed_edge.train.run import open_run, read_json

    opened, manifest = open_run(run), open_bundle(bundle).manifest
    opened.check_belongs(manifest)
    if not (run / "report.json").exists():
        raise CheckpointError(
            f"{run}: no report.json yet; run eed-edge attack and eed-edge bench --run {run} first"
        )
    click.echo(whole_table(read_json(run / "report.json"), manifest))
