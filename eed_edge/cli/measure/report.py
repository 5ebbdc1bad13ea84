"""``eed-edge report``: the results of a run as tables or as one HTML page."""

from pathlib import Path
from typing import Any

import click

from eed_edge.cli.display.output import print_answer
from eed_edge.cli.measuring_command import MeasuringCommand
from eed_edge.cli.options import bundle_argument, help_examples, run_argument


@click.command(
    "report",
    cls=MeasuringCommand,
    short_help="Print the results, or write them as a web page.",
    epilog=help_examples("eed-edge report run bundle --html report.html"),
)
@run_argument
@bundle_argument
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path),
    help="Write an HTML page with curves and examples to this file.",
)
def command(run: Path, bundle: Path, html_file: Path | None) -> dict[str, Any]:
    """Print the results of attack, bench and train for RUN and BUNDLE.

    With --html, write them as one self-contained page.
    """
    from eed_edge import html
    from eed_edge.cli.display.tables import report_table
    from eed_edge.provenance import check_exported_from
    from eed_edge.report import read_report
    from eed_edge.report.judged_file import JUDGED_FILE, judged_summary
    from eed_edge.report.notes_file import BASE_AT_CHANCE, read_notes
    from eed_edge.runtime.bundle.folder import open_bundle
    from eed_edge.train.run_folder import open_run

    opened, manifest = open_run(run), open_bundle(bundle).manifest
    check_exported_from(manifest, run, opened.member_paths())
    figures = read_report(run / "report.json")
    opened.check_report(figures, bundle)
    if html_file is None:
        notes = read_notes(run)
        table = report_table(figures, manifest, notes=notes)
        if BASE_AT_CHANCE in notes:
            print_answer(f"warning: {notes.pop(BASE_AT_CHANCE)}\n")
        print_answer(table)
        for text in notes.values():
            print_answer(f"\nwarning: {text}")
        if judged := judged_summary(run / JUDGED_FILE):
            print_answer(f"\njudged on test: {judged}")
    else:
        html.write_page(run, manifest, html_file)
        print_answer(f"report: {html_file}")
    return figures
