"""Time a bundle beside its dense base: batches of 1 and 64, one and two threads, one process.

    .venv/bin/python benchmarks/latency.py build/demo/bundle --run build/demo/run

Dense, static, dynamic, prefixes and, where they are there, the single file (export --single-file) and the
narrow network take turns in blocks of real images. Load time, first answer and peak memory come from new
processes. Quote ratios, and measure on an idle machine. Writes benchmarks/results/latency.json unless --json
says otherwise.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click

from eed_edge import report
from eed_edge.atomic_files import write_json
from eed_edge.cli.measure.bench import table
from eed_edge.provenance import check_exported_from, member_files
from eed_edge.runtime.bundle.folder import open_bundle
from eed_edge.runtime.engine.session import SessionConfig
from eed_edge.runtime.measure import benchmark
from eed_edge.runtime.measure.prefixes import recorded_stops

RESULTS = Path(__file__).parent / "results"


@click.command(help=__doc__)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--run", type=click.Path(path_type=Path), help="Its run folder: test images and narrow.onnx.")
@click.option("--images", "npz", type=click.Path(path_type=Path), help="NPZ file with images.")
@click.option("--repeats", type=click.IntRange(min=1), default=6, show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULTS / "latency.json")
def main(bundle: Path, run: Path | None, npz: Path | None, repeats: int, target: Path) -> None:
    """Measure every config, print a table of each, write the figures."""
    if run is not None:
        check_exported_from(open_bundle(bundle).manifest, run, member_files(run))
    timed = benchmark.real_images(bundle, npz=npz, run=run)
    networks = benchmark.find_networks(bundle, run)
    click.echo(f"timing on {timed.source}{', indicative only' if timed.indicative else ''}")
    stops = recorded_stops(run, bundle) if run else None
    settings = []
    for batch in (1, 64):
        for threads in (1, 2):
            figures = benchmark.measure_latency(
                bundle,
                timed.images,
                networks=networks,
                config=SessionConfig(threads),
                repeats=repeats,
                batch=batch,
                stops=stops,
            )
            settings.append(figures)
            click.echo(f"\nbatch {figures['latency']['batch']}, threads {threads}")
            click.echo(table(figures["latency"], figures["submodels_used"]["clean"]))
    write_json(
        target,
        {
            "command": ".venv/bin/python benchmarks/latency.py " + " ".join(sys.argv[1:]),
            "machine": report.machine(),
            "commit": report.commit(),
            "seed": seed(run),
            "images": timed.source,
            "n": len(timed.images),
            "indicative": timed.indicative,
            "settings": settings,
        },
    )
    click.echo(f"written: {target}")


def seed(run: Path | None) -> int | None:
    """The seed of the run's recipe; timing itself draws nothing."""
    if run is None:
        return None
    record: dict[str, Any] = json.loads((run / "run.json").read_bytes())
    return int(record["recipe"]["seed"])


if __name__ == "__main__":
    main()
