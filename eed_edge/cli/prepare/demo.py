"""``eed-edge demo``: all steps on the digits images, which need no download."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eed_edge.cli.display.output import print_answer
from eed_edge.cli.options import help_examples, set_option
from eed_edge.cli.use.web import serve_page
from eed_edge.printable import to_copy

if TYPE_CHECKING:
    from eed_edge.manifest import Manifest

RECIPE = "digits-resnet18"
SHORT = (
    'scores.names=["nis", "erm"]',
    "prune.sparsity=0.9",
    "base.epochs=8",
    "pool.epochs=6",
    "joint.epochs=6",
    "base.judge_steps=3",
    "pool.judge_steps=3",
    "joint.judge_steps=3",
)
"""Half of the recipe's pool, a team of two at most, fewer epochs, judged under a shorter attack."""
NARROW_EPOCHS = 10
"""The team's cost would pay for about 300; with ``--full`` it is trained until tune stops rising."""
ATTACKED_IMAGES = 80
"""Of 467 test images."""
LENGTH = {False: "about four minutes", True: "about a quarter of an hour"}


@click.command(
    "demo",
    short_help="Try every step on images of digits, in about four minutes.",
    epilog=help_examples("eed-edge demo", "eed-edge demo --full --out full"),
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("build/demo"),
    show_default=True,
    help="Folder for the run, the bundle and the report.",
)
@set_option("seed=1")
@click.option(
    "--full",
    is_flag=True,
    help="The whole recipe, narrow at full length, single too, and all test images; give another --out.",
)
@click.option("--web", is_flag=True, help="Show the bundle as a page in the browser at the end; see web.")
def command(out: Path, overrides: tuple[str, ...], full: bool, web: bool) -> None:
    """Train, prune, select, export, attack and time on images of digits; about four minutes on two cores.

    Trains a smaller team than the recipe digits-resnet18 and attacks fewer images; --full does not. Writes
    OUT/run, OUT/bundle, OUT/report.json and OUT/report.html. Run the same command again to resume.
    """
    import eed_edge
    from eed_edge import recipe as recipes
    from eed_edge.cli.display.resumable import resumable
    from eed_edge.cli.display.tables import command_line
    from eed_edge.evaluate.baselines.equal_latency import train_baseline
    from eed_edge.evaluate.baselines.narrow_network import NarrowNetwork
    from eed_edge.evaluate.baselines.single_network import SingleNetwork
    from eed_edge.train.context import TrainingContext
    from eed_edge.train.data import splits as data
    from eed_edge.web.browser_engine import read_engine
    from eed_edge.web.page_site import build_site

    engine = read_engine() if web else {}  # first, since it may be missing
    bundle = out / "bundle"
    recipe = recipes.load_recipe(RECIPE, overrides if full else (*SHORT, *overrides))
    splits = data.splits_for_recipe(recipe, None)
    with resumable(out / "run") as progress:
        progress.print_line(f"training, export, baselines, attacks, timing; {LENGTH[full]} on two idle cores")
        run = eed_edge.train_team(
            recipe, splits, run=out / "run", device="cpu", callbacks=(progress.training,)
        )
        progress.print_line("calibrating the gate and exporting, the base in int8 too")
        manifest = eed_edge.export_bundle(run, bundle, splits, single_file=True, with_dense_int8=True)
        for kind in (NarrowNetwork(), *([SingleNetwork()] if full else [])):
            progress.print_line(f"training the baseline {kind.name}: one network of the bundle's latency")
            train_baseline(
                kind,
                run,
                bundle,
                splits,
                epochs=None if full else NARROW_EPOCHS,
                context=TrainingContext(callbacks=(progress.training,), device="cpu"),
                command=command_line(),
            )
        eed_edge.evaluate_bundle(
            run,
            bundle,
            splits,
            images=None if full else min(ATTACKED_IMAGES, len(splits.test)),
            command=command_line(),
            on_progress=progress.counting,
        )
        progress.print_line("timing in this process, one thread, in blocks")
        figures = _timed(run.path, bundle)
    _report(out, run.path, manifest, figures)
    if web:
        serve_page(build_site(bundle, run.path, engine))


def _report(out: Path, run: Path, manifest: "Manifest", figures: dict[str, Any]) -> None:
    """Print the tables and what to try next; write OUT/report.json and OUT/report.html."""
    from eed_edge import html
    from eed_edge.atomic_files import write_json
    from eed_edge.cli.display.tables import report_table

    write_json(out / "report.json", figures)
    print_answer(report_table(figures, manifest))
    print_answer(f"\nreport: {out / 'report.json'}")
    bundle = out / "bundle"
    print_answer(f"try: {to_copy('check', bundle)}; {to_copy('run', bundle, run / 'evaluation.npz')}")
    html.write_page(run, manifest, out / "report.html")
    print_answer(f"to look at: {out / 'report.html'}")


def _timed(run: Path, bundle: Path) -> dict[str, Any]:
    """Time the bundle and the networks that it is compared with; return the report with these figures."""
    from eed_edge import report
    from eed_edge.cli.display.tables import command_line
    from eed_edge.runtime.measure import benchmark
    from eed_edge.runtime.measure.prefixes import recorded_stops

    figures = benchmark.measure_latency(
        bundle,
        benchmark.real_images(bundle, npz=None, run=run).images,
        networks=benchmark.find_networks(bundle, run),
        stops=recorded_stops(run, bundle),
    )
    figures |= {"commands": {"bench": command_line()}}
    return report.merge_report(run / "report.json", figures, without=["latency"])
