"""Time a bundle beside its dense base: batches of 1 and 64, one and two threads, one process.

    .venv/bin/python benchmarks/latency.py build/demo/bundle --run build/demo/run

Dense, static, dynamic and (if trained) narrow take turns call by call on real images. Quote ratios,
and measure on an idle machine. Writes benchmarks/results/latency.json unless --json says otherwise.
"""

import sys
from pathlib import Path
from typing import Any

import click

from eed_edge import report
from eed_edge.files import write_json
from eed_edge.runtime import benchmark

RESULTS = Path(__file__).parent / "results"


@click.command(help=__doc__)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--run", type=click.Path(path_type=Path), help="Run folder with test images and narrow.onnx.")
@click.option("--images", "npz", type=click.Path(path_type=Path), help="NPZ file with images.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULTS / "latency.json")
def main(bundle: Path, run: Path | None, npz: Path | None, repeats: int, target: Path) -> None:
    """Measure every setting, print a table, write the figures."""
    found = benchmark.real_images(bundle, npz=npz, run=run)
    networks = benchmark.find_networks(bundle, run)
    click.echo(
        f"{'batch':>6}{'threads':>8}{'dense ms':>10}{'dynamic ms':>11}{'mean':>8}{'worst':>8}{'overhead':>10}"
    )
    settings = []
    for batch in (1, 64):
        for threads in (1, 2):
            figures = benchmark.measure(
                bundle, found.images, networks=networks, threads=threads, repeats=repeats, batch=batch
            )
            settings.append(figures)
            click.echo(row(figures["latency"]))
    write_json(
        target,
        {
            "command": ".venv/bin/python benchmarks/latency.py " + " ".join(sys.argv[1:]),
            "machine": report.machine(),
            "commit": report.commit(),
            "images": found.source,
            "n": len(found.images),
            "settings": settings,
        },
    )
    click.echo(f"written: {target}")


def row(latency: dict[str, Any]) -> str:
    """One line of the table; milliseconds are p50 of a call."""
    unknown = float("nan")
    dense = latency.get("dense", {}).get("p50_ms", unknown)
    mean, worst = (latency.get(key, unknown) for key in ("speedup_mean", "speedup_worst"))
    return (
        f"{latency['batch']:>6}{latency['threads']:>8}{dense:>10.3f}{latency['dynamic']['p50_ms']:>11.3f}"
        f"{mean:>7.2f}x{worst:>7.2f}x{latency['overhead_ratio']:>9.3f}x"
    )


if __name__ == "__main__":
    main()
