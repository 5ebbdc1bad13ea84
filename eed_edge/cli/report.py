"""``eed-edge report``: what is known of a run, as tables or as one HTML page."""

from pathlib import Path

import click


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path),
    help="Write a page with curves and examples to this one file.",
)
def command(run: Path, bundle: Path, html_file: Path | None) -> None:
    """Print the figures of RUN and BUNDLE that attack, bench and train have found.

    With --html, write them as one page that needs no network.
    """
    from eed_edge import html
    from eed_edge.cli.tables import report_table
    from eed_edge.provenance import check_exported_from
    from eed_edge.report import read_report
    from eed_edge.runtime.bundle.folder import open_bundle
    from eed_edge.train.run_folder import open_run

    opened, manifest = open_run(run), open_bundle(bundle).manifest
    check_exported_from(manifest, run, opened.member_paths())
    figures = read_report(run / "report.json")
    opened.check_report(figures, bundle)
    if html_file is None:
        click.echo(report_table(figures, manifest))
    else:
        html.write_page(run, manifest, html_file)
        click.echo(f"report: {html_file}")
