"""``eed-edge bench``: how fast a bundle is here, beside the dense network that it replaces."""

from pathlib import Path
from typing import Any

import click


@click.command("bench")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--run", type=click.Path(path_type=Path), help="Run folder: its networks, test images and report."
)
@click.option(
    "--images", "npz", type=click.Path(path_type=Path), help="NPZ file of images (n, h, w, c) uint8."
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads per call.")
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Times per image.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file.")
def command(
    bundle: Path, run: Path | None, npz: Path | None, threads: int, repeats: int, json_file: Path | None
) -> None:
    """Time a BUNDLE on real images, one at a time, everything interleaved in one process.

    With --run, the figures go into RUN/report.json too.
    """
    from eed_edge import report
    from eed_edge.files import write_json
    from eed_edge.runtime import benchmark

    if run is not None and not run.is_dir():
        raise click.BadParameter(f"{run} is not a folder", param_hint="--run")
    found = benchmark.real_images(bundle, npz=npz, run=run)
    networks = benchmark.find_networks(bundle, run)
    click.echo(f"timing on {found.source}, threads {threads}, repeats {repeats}")
    figures = benchmark.measure(bundle, found.images, networks=networks, threads=threads, repeats=repeats)
    if found.indicative:
        figures["latency"]["indicative"] = True
        click.echo("golden images alone are indicative only; give --images or --run for figures to publish")
    figures = {"machine": report.machine(), "commit": report.commit(), **figures}
    _print_table(figures["latency"], figures["submodels_used"]["clean"])
    if run is not None:
        report.merge(run / "report.json", figures)
    if json_file is not None:
        write_json(json_file, figures)


def _print_table(latency: dict[str, Any], submodels_used: float) -> None:
    networks = ("dense", "narrow", "static", "dynamic")
    rows: dict[str, Any] = {name: latency[name] for name in networks if name in latency}
    rows.update({f"sub-model {i}": row for i, row in enumerate(latency["submodels"])})
    click.echo(f"{'ms':<12}{'p50':>9}{'p90':>9}{'p99':>9}{'mean':>9}")
    for name, row in rows.items():
        cells = "".join(f"{row[key]:>9.3f}" for key in ("p50_ms", "p90_ms", "p99_ms", "mean_ms"))
        click.echo(f"{name:<12}{cells}")
    click.echo(f"sub-models used {submodels_used:.2f} of {len(latency['submodels'])}")
    if "speedup_mean" in latency:
        click.echo(
            f"speed-up over dense {latency['speedup_mean']:.2f}x, all run {latency['speedup_worst']:.2f}x"
        )
    else:
        click.echo("no dense network to compare with: export --with-dense, or give --run")
    overhead, each = latency["overhead_ratio"], latency["overhead_us_per_submodel"]
    click.echo(f"overhead over the bare sessions {overhead:.3f}x, {each:.1f} us per sub-model")
    for name in latency["load_ms"]:
        load, first, peak = (latency[key][name] for key in ("load_ms", "first_ms", "peak_rss_mib"))
        click.echo(f"{name}: load {load:.0f} ms, first image {first:.1f} ms, peak memory {peak:.0f} MiB")
