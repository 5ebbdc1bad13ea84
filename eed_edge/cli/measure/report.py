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
    epilog=help_examples(
        "eed-edge report run bundle --html report.html", "eed-edge report run bundle --card"
    ),
)
@run_argument
@bundle_argument
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path),
    help="Write an HTML page with curves and examples to this file.",
)
@click.option("--card", is_flag=True, help="Write BUNDLE's README.md, a model hub's card, with the figures.")
def command(run: Path, bundle: Path, html_file: Path | None, card: bool) -> dict[str, Any]:
    """Print the results of attack, bench and train for RUN and BUNDLE.

    With --html, write them as one self-contained page; with --card, into the bundle's model card.
    """
    from eed_edge import html
    from eed_edge.atomic_files import write_atomic
    from eed_edge.cli.display.tables import report_table
    from eed_edge.export.model_card import figures_of, model_card, stated_licence
    from eed_edge.provenance import check_exported_from
    from eed_edge.report import read_report
    from eed_edge.report.judged_file import JUDGED_FILE, judged_summary
    from eed_edge.report.notes_file import BASE_AT_CHANCE, read_notes
    from eed_edge.runtime.bundle.folder import CARD_FILE, open_bundle
    from eed_edge.train.run_folder import open_run

    opened, manifest = open_run(run), open_bundle(bundle).manifest
    check_exported_from(manifest, run, opened.member_paths())
    figures = read_report(run / "report.json")
    opened.check_report(figures, bundle)
    if card:
        path = bundle / CARD_FILE
        text = model_card(manifest, opened.recipe, figures_of(opened, bundle), licence=stated_licence(path))
        write_atomic(path, text.encode())
        print_answer(f"card: {path}")
    if html_file is None and not card:
        notes = read_notes(run)
        table = report_table(figures, manifest, notes=notes)
        if BASE_AT_CHANCE in notes:
            print_answer(f"warning: {notes.pop(BASE_AT_CHANCE)}\n")
        print_answer(table)
        for text in notes.values():
            print_answer(f"\nwarning: {text}")
        if judged := judged_summary(run / JUDGED_FILE):
            print_answer(f"\njudged on test: {judged}")
    if html_file is not None:
        html.write_page(run, manifest, html_file)
        print_answer(f"report: {html_file}")
    return figures
