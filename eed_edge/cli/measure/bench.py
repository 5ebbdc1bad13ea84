"""``eed-edge bench``: how fast a bundle is on this machine, compared with the dense network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eed_edge.cli.completion_words import complete_bundle, complete_run
from eed_edge.cli.display.output import print_answer, print_notice
from eed_edge.cli.display.tables import predicted_lines, speedup_lines
from eed_edge.cli.measuring_command import MeasuringCommand
from eed_edge.cli.options import PATH, THREADS, help_examples
from eed_edge.printable import to_copy
from eed_edge.report.names import PERCENTILES, TIMED_NETWORKS

if TYPE_CHECKING:
    from eed_edge.runtime.engine.session import SessionConfig
    from eed_edge.runtime.measure.benchmark import TimedImages
    from eed_edge.runtime.measure.session_tuning import TuningResult


@click.command(
    "bench",
    cls=MeasuringCommand,
    short_help="Time a bundle beside the dense network.",
    epilog=help_examples("eed-edge bench bundle --run run", "eed-edge bench bundle --tune"),
)
@click.argument("bundle", type=PATH, shell_complete=complete_bundle)
@click.option(
    "--run", type=PATH, shell_complete=complete_run, help="Run folder: its networks, test images and report."
)
@click.option(
    "--images",
    "npz",
    type=click.Path(path_type=Path),
    help="Folder of pictures, or NPZ file (n, h, w, c) uint8.",
)
@click.option(
    "--beside",
    "other_bundle",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Another bundle to time in the same rounds, such as the team in float32.",
)
@click.option("--threads", type=THREADS, help="Threads per call (default: 1).")
@click.option("--spinning/--no-spinning", default=None, help="Let idle threads spin (default: off).")
@click.option("--arena/--no-arena", default=None, help="Keep memory for the next call (default: on).")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images per call.")
@click.option("--repeats", type=click.IntRange(min=1), default=4, show_default=True, help="Rounds.")
@click.option(
    "--cold", is_flag=True, help="Only time call by call, so that each network finds another one's caches."
)
@click.option("--tune", is_flag=True, help="Only find the best threads, spinning and arena for this machine.")
def command(
    bundle: Path,
    run: Path | None,
    npz: Path | None,
    other_bundle: Path | None,
    threads: int | None,
    spinning: bool | None,
    arena: bool | None,
    batch: int,
    repeats: int,
    cold: bool,
    tune: bool,
) -> dict[str, Any]:
    """Time a BUNDLE on real images, one at a time, in one process.

    Networks take turns in blocks of all images, in a balanced order; --repeats is the number of rounds, best
    an even one. With --run, the run that BUNDLE was exported from, the figures go into RUN/report.json too,
    and the speed-up on attacked images is timed with the stops that eed-edge attack has recorded there.
    With --cold, --tune or --batch above 1 nothing goes there.
    """
    from eed_edge.atomic_files import check_place
    from eed_edge.cli.display.resumable import keeping
    from eed_edge.provenance import check_exported_from, member_files
    from eed_edge.runtime.bundle.folder import open_bundle
    from eed_edge.runtime.engine.session import SessionConfig
    from eed_edge.runtime.measure import benchmark

    if run is not None and not run.is_dir():
        raise click.BadParameter(f"{run} is not a folder", param_hint="--run")
    if tune and (threads, spinning, arena) != (None, None, None):
        raise click.UsageError("--tune tries --threads, --spinning and --arena itself; leave them out")
    if tune and cold:
        raise click.UsageError("--tune and --cold are two ways to time; leave one out")
    if run is not None:
        check_exported_from(open_bundle(bundle).manifest, run, member_files(run))
        check_place(run / "report.json")
    timed = benchmark.real_images(bundle, npz=npz, run=run)
    config = SessionConfig(threads or 1, bool(spinning), arena is not False)
    networks = benchmark.find_networks(bundle, run) | ({"other_bundle": other_bundle} if other_bundle else {})
    with keeping("nothing of this call is kept, earlier figures are", again="start again"):
        if tune:
            return _tune(bundle, timed, batch, repeats)
        if cold:
            return _measure_cold(bundle, timed, networks, config, batch=batch, repeats=repeats)
        figures = _measure(bundle, run, timed, networks, config, batch=batch, repeats=repeats)
    if run is not None:
        _keep(run, figures, batch)
    return figures


def _keep(run: Path, figures: dict[str, Any], batch: int) -> None:
    """Put the figures into the run's report, whose times are of one image a call."""
    from eed_edge import report

    if batch == 1:
        report.merge_report(run / "report.json", figures, without=["latency"])
    else:
        print_notice("not kept in report.json, whose times are of one image a call: --json FILE keeps them")


def _measure(
    bundle: Path,
    run: Path | None,
    timed: "TimedImages",
    networks: dict[str, Path],
    config: "SessionConfig",
    *,
    batch: int,
    repeats: int,
) -> dict[str, Any]:
    """Time everything, print a table and return the report's part."""
    from eed_edge import report
    from eed_edge.cli.display.tables import command_line
    from eed_edge.runtime.measure import benchmark
    from eed_edge.runtime.measure.prefixes import recorded_stops

    print_answer(f"timing on {timed.source}, {batch} a call, threads {config.threads}, repeats {repeats}")
    figures = benchmark.measure_latency(
        bundle,
        timed.images,
        networks=networks,
        config=config,
        repeats=repeats,
        batch=batch,
        stops=recorded_stops(run, bundle) if run else None,
    )
    if timed.indicative:
        figures["latency"]["indicative"] = True
        remedy = "give --images or --run"
        if run is not None:
            remedy = f"{run} gets test images by eed-edge attack, or give --images,"
        print_answer(f"golden images alone are indicative only; {remedy} for figures to publish")
    figures = {
        "machine": report.machine(),
        "commit": report.commit(),
        "commands": {"bench": command_line()},
        **figures,
    }
    print_answer(table(figures["latency"], figures["submodels_used"]["clean"]))
    return figures


def _measure_cold(
    bundle: Path,
    timed: "TimedImages",
    networks: dict[str, Path],
    config: "SessionConfig",
    *,
    batch: int,
    repeats: int,
) -> dict[str, Any]:
    """Time call by call, print a table and return the figures for ``--json``."""
    from eed_edge import report
    from eed_edge.runtime.measure import benchmark

    print_answer(f"timing call by call on {timed.source}, {batch} a call, repeats {repeats}")
    cold = benchmark.measure_cold(
        bundle, timed.images, networks=networks, config=config, repeats=repeats, batch=batch
    )
    rows = {name: cold[name] for name in TIMED_NETWORKS if name in cold}
    print_answer("\n".join([*_times_table(rows), *_conditions(cold["conditions"])]))
    return {"machine": report.machine(), "commit": report.commit(), "cold": cold}


def table(latency: dict[str, Any], submodels_used: float) -> str:
    """Percentiles of every program, then speed-ups, overhead, device costs and conditions, as plain text."""
    rows: dict[str, Any] = {name: latency[name] for name in TIMED_NETWORKS if name in latency}
    rows |= {f"first {t}": row for t, row in enumerate(latency["prefixes"], 1)}
    rows |= {f"sub-model {t}": row for t, row in enumerate(latency["submodels"], 1)}
    lines = _times_table(rows)
    lines.append(f"sub-models used {submodels_used:.2f} of {len(latency['submodels'])}")
    lines += speedup_lines(latency) or [
        "no dense network to compare with: export --with-dense, or give --run"
    ]
    if "other_bundle_over_dynamic" in latency:
        other = latency["other_bundle_over_dynamic"]
        spread = f"({other['low']:.2f}-{other['high']:.2f})"
        lines.append(f"speed-up over the other bundle: {other['median']:.2f}x {spread}")
    lines += predicted_lines(latency)
    overhead, each = latency["overhead_ratio"], latency["overhead_us_per_submodel"]
    lines.append(f"overhead over the bare sessions {overhead:.3f}x, {each:.1f} us per sub-model")
    lines += _device_table(latency)
    lines += [f"processor {latency['conditions']['cpu']}", *_conditions(latency["conditions"])]
    return "\n".join(lines)


def _times_table(rows: dict[str, Any]) -> list[str]:
    """A line of percentiles, mean and quartiles for each program."""
    heads = f"{'p50':>9}{'quartiles':>16}{'p90':>9}{'p99':>9}{'mean':>9}{'quartiles':>16}"
    lines = [f"{'ms':<12}{heads}"]
    for name, row in rows.items():
        calls, means = (
            f"{row[low]:.3f}-{row[high]:.3f}"
            for low, high in (("p25_ms", "p75_ms"), ("mean_low_ms", "mean_high_ms"))
        )
        p50, p90, p99, mean = (f"{row[key]:>9.3f}" for key in PERCENTILES)
        lines.append(f"{name.replace('_', ' '):<12}{p50}{calls:>16}{p90}{p99}{mean}{means:>16}")
    return [*lines, "quartiles: of all calls next to p50, of the rounds' means next to the mean"]


def _device_table(latency: dict[str, Any]) -> list[str]:
    """A line for each file or folder to deploy: start-up, memory, images per second, bytes on disk."""
    titles = ("load ms", "first answer ms", "mean MiB", "peak MiB", "images/s", "disk MiB")
    keys = ("load_ms", "first_answer_ms", "mean_rss_mib", "peak_rss_mib")
    lines = [f"{'new process':<12}" + "".join(f"{title:>17}" for title in titles)]
    for name in latency["load_ms"]:
        rate = latency["images_per_second"]["dynamic" if name == "ensemble" else name]
        values = (*(latency[key][name] for key in keys), rate, latency["disk_bytes"][name] / 2**20)
        lines.append(f"{name.replace('_', ' '):<12}" + "".join(f"{value:>17.1f}" for value in values))
    if unneeded := latency["unneeded_bytes"]:
        files = ", ".join(f"{name} ({size / 2**20:.1f} MiB)" for name, size in unneeded.items())
        lines.append(f"loading the folder also verified {files}, which a device does not need")
    return lines


def _conditions(conditions: dict[str, Any]) -> list[str]:
    """A line of the conditions, and a warning if the machine had other work."""
    from eed_edge.runtime.measure.conditions import busy_warning, conditions_line

    warning = busy_warning(conditions)
    return [conditions_line(conditions), *([f"warning: {warning}"] if warning else [])]


def _tune(bundle: Path, timed: "TimedImages", batch: int, rounds: int) -> dict[str, Any]:
    """Time every setting of a session, print a table and return the figures for ``--json``."""
    import os

    from eed_edge import report
    from eed_edge.runtime.measure.conditions import conditions_between, snapshot
    from eed_edge.runtime.measure.session_tuning import tune_session

    print_answer(
        f"tuning on {timed.source}, {batch} a call, repeats {rounds}; nothing else should be running"
    )
    before = snapshot()
    results = tune_session(bundle, timed.images, cores=os.cpu_count() or 1, batch=batch, rounds=rounds)
    conditions = conditions_between(before, snapshot())
    print_answer("\n".join([*_conditions(conditions), _tuned(bundle, results)]))
    return {
        "machine": report.machine(),
        "commit": report.commit(),
        "batch": batch,
        "tuned": [{**one.config.as_record(), "typical_ms": one.typical_ms, **one.summary} for one in results],
        "conditions": conditions,
    }


def _tuned(bundle: Path, results: "list[TuningResult]") -> str:
    """A row per configuration, the best first, and the options that select it."""
    titles = ("typical", *PERCENTILES.values())
    lines = [
        f"{'threads':>7}{'spinning':>10}{'arena':>7}" + "".join(f"{each:>9}" for each in titles) + "  ms"
    ]
    for one in results:
        spinning, arena = ("yes" if value else "no" for value in (one.config.spinning, one.config.arena))
        cells = "".join(f"{ms:>9.3f}" for ms in (one.typical_ms, *(one.summary[key] for key in PERCENTILES)))
        lines.append(f"{one.config.threads:>7}{spinning:>10}{arena:>7}{cells}")
    best = results[0].config
    options = f"--threads {best.threads} --{'' if best.spinning else 'no-'}spinning"
    options += f" --{'' if best.arena else 'no-'}arena"
    lines += [
        "sorted by typical: the mean over images of the median over rounds; first the plainest within 2 % of"
        " the least, the best here:",
        f"  eed_edge.load({str(bundle)!r}, threads={best.threads}, spinning={best.spinning},"
        f" arena={best.arena})",
        f"  {to_copy('run', bundle)} FILE... {options}",
    ]
    return "\n".join(lines)
