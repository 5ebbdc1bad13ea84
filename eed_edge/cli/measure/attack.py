"""``eed-edge attack``: measure clean and adversarial accuracy on test images."""

from pathlib import Path
from typing import Any

import click

import eed_edge
from eed_edge.cli.completion_words import complete_attack, complete_suite
from eed_edge.cli.display.output import print_answer
from eed_edge.cli.display.tables import command_line
from eed_edge.cli.measuring_command import MeasuringCommand
from eed_edge.cli.options import bundle_argument, data_option, device_option, help_examples, run_argument


@click.command(
    "attack",
    cls=MeasuringCommand,
    short_help="Measure accuracy, clean and under attack.",
    epilog=help_examples("eed-edge attack run bundle --data my-pictures --images 1000"),
)
@run_argument
@bundle_argument
@data_option
@click.option(
    "--images",
    type=click.IntRange(min=1),
    help="Number of test images, drawn by the recipe's seed (default: all).",
)
@click.option(
    "--suite",
    "suite_name",
    metavar="quick|standard|clean",
    shell_complete=complete_suite,
    help="quick: PGD-20 and a short APGD. standard: PGD-20, AutoAttack, C&W, DeepFool. clean: no attacks,"
    " the default of a run that was trained without them.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="ATTACK",
    shell_complete=complete_attack,
    help="Run only this attack of the suite and no further analyses; repeatable.",
)
@device_option("Where the attacks run; the deployed rule runs on the CPU.")
def command(
    run: Path,
    bundle: Path,
    root: Path | None,
    images: int | None,
    suite_name: str | None,
    only: tuple[str, ...],
    device: str,
) -> dict[str, Any]:
    """Measure clean and adversarial accuracy of the dense base, the static mean and the rule of BUNDLE.

    An image counts for the dynamic rule only if the rule classifies it correctly unmodified and under
    attacks on the first 1, 2, ... sub-models; the adaptive row adds transfer, reweighting and a smooth
    gate. Results are merged into RUN/report.json. Run the same command again to resume; under torchrun,
    the processes share the images.
    """
    from eed_edge.cli.display.progress import progress_display
    from eed_edge.cli.display.resumable import keeping
    from eed_edge.cli.display.tables import accuracy_table, further_lines, paired_table

    with keeping(f"batches that are done are kept in {run}"), progress_display() as progress:
        figures = eed_edge.evaluate_bundle(
            run,
            bundle,
            root,
            images=images,
            suite=suite_name,
            only=only,
            device=device,
            command=command_line(),
            on_progress=progress.counting,
        )
    if not figures:
        return figures  # one of torchrun's other processes
    print_answer(accuracy_table(figures["accuracy"]))
    print_answer(paired_table(figures["paired"]))
    for kind, row in figures.get("attacks", {}).items():
        for warning in row["warnings"]:
            print_answer(f"{kind}: AutoAttack warns: {warning}")
    for line in further_lines(figures):
        print_answer(line)
    return figures
