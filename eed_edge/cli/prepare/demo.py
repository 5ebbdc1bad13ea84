"""``eed-edge demo``: all steps on the digits images, which need no download."""

from pathlib import Path

import click

from eed_edge.cli.display.output import print_answer
from eed_edge.cli.options import help_examples, set_option
from eed_edge.cli.use.web import serve_page

RECIPE = "digits-resnet18"
NARROW_EPOCHS = 40
"""At most; the team's cost would pay for about 300. ``eed-edge narrow`` trains until tune stops rising."""


@click.command(
    "demo",
    short_help="Try every step on images of digits, in some minutes.",
    epilog=help_examples("eed-edge demo", "eed-edge demo --out /tmp/demo"),
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("build/demo"),
    show_default=True,
    help="Folder for the run, the bundle and the report.",
)
@set_option("seed=1")
@click.option("--web", is_flag=True, help="Show the bundle as a page in the browser at the end; see web.")
def command(out: Path, overrides: tuple[str, ...], web: bool) -> None:
    """Train, prune, select, export, attack and time the digits recipe; some minutes on two cores.

    Writes OUT/run, OUT/bundle, OUT/report.json and OUT/report.html. Run the same command again to resume.
    """
    from eed_edge import html, pipeline, report
    from eed_edge import recipe as recipes
    from eed_edge.atomic_files import write_json
    from eed_edge.cli.display.resumable import resumable
    from eed_edge.cli.display.tables import command_line, report_table
    from eed_edge.evaluate.baselines.equal_latency import train_baseline
    from eed_edge.evaluate.baselines.narrow_network import NarrowNetwork
    from eed_edge.evaluate.evaluate import evaluate
    from eed_edge.export.dense_network import keep_dense
    from eed_edge.export.write_bundle import write_bundle
    from eed_edge.manifest import CASCADE_FILE
    from eed_edge.runtime.measure import benchmark
    from eed_edge.runtime.measure.prefixes import recorded_stops
    from eed_edge.train.context import TrainingContext
    from eed_edge.train.data import splits as data
    from eed_edge.web.browser_engine import read_engine
    from eed_edge.web.page_site import build_site

    engine = read_engine() if web else {}  # before all work: it may not be there
    run_path, bundle = out / "run", out / "bundle"
    recipe = recipes.load_recipe(RECIPE, overrides)
    splits = data.splits_for_recipe(recipe, None)
    with resumable(run_path) as progress:
        context = TrainingContext(callbacks=(progress.training,), device="cpu")
        progress.print_line(f"training {recipe.name} on {len(splits.train.labels)} real images")
        run = pipeline.train(recipe, splits, run_path, context=context)
        progress.print_line("calibrating the gate and exporting")
        manifest = write_bundle(run, bundle, extra_files=(CASCADE_FILE,))
        keep_dense(run, bundle)
        progress.print_line(
            f"training the baseline: one narrow network of equal latency, at most {NARROW_EPOCHS} epochs"
        )
        train_baseline(
            NarrowNetwork(), run, bundle, None,
            epochs=NARROW_EPOCHS, context=context, command=command_line(),
        )  # fmt: skip
        evaluate(run, bundle, None, images=None, command=command_line(), on_progress=progress.counting)
        progress.print_line("timing in this process, one thread, in blocks")
        timed = benchmark.real_images(bundle, npz=None, run=run_path)
        figures = benchmark.measure_latency(
            bundle,
            timed.images,
            networks=benchmark.find_networks(bundle, run_path),
            stops=recorded_stops(run_path, bundle),
        )
        figures = report.merge_report(
            run_path / "report.json", figures | {"commands": {"bench": command_line()}}
        )
    write_json(out / "report.json", figures)
    print_answer(report_table(figures, manifest))
    print_answer(f"\nreport: {out / 'report.json'}")
    print_answer(f"try: eed-edge check {bundle}; eed-edge run {bundle} {run_path / 'evaluation.npz'}")
    html.write_page(run_path, manifest, out / "report.html")
    print_answer(f"to look at: {out / 'report.html'}")
    if web:
        serve_page(build_site(bundle, run_path, engine))
