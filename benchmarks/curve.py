"""Accuracy against mean latency over budgets: every prefix, the deployed rule, its baselines and dense.

    .venv/bin/python benchmarks/curve.py models/NAME --json models/NAME/curve.json

Each RUN, or published model, has been attacked (eed-edge attack) and timed (eed-edge bench --run RUN);
several of one base with members of other sizes give one curve. Speed-ups over the dense base of the same run
are medians over rounds, those of the shorter prefixes ratios of the means. A prefix is the mean of the first
members without early stop, attacked on its own and timed as it runs; the deployed rule has to be right on the
images made against every prefix, so its row is the stricter one.
"""

import sys
from pathlib import Path
from typing import Any

import click

from eed_edge import report
from eed_edge.atomic_files import write_json
from eed_edge.errors import InputError

KINDS = ("clean", "pgd20", "autoattack")
BUDGETS = {
    "dense": "dense base",
    "narrow": "narrow network",
    "single": "single pruned network",
    "dynamic": "deployed rule",
}


@click.command(help=__doc__)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "target", required=True, type=click.Path(path_type=Path))
def main(runs: tuple[Path, ...], target: Path) -> None:
    """Gather the budgets of all runs, print them from the fastest to the slowest, write the figures."""
    reports = {
        (path.parent if path.name == "run" else path).name: report.read_report(path / "report.json")
        for path in runs
    }
    budgets = [row for name, figures in reports.items() for row in of_run(name, figures)]
    budgets.sort(key=lambda row: -row["speedup"])
    write_json(
        target,
        {
            "command": ".venv/bin/python benchmarks/curve.py " + " ".join(sys.argv[1:]),
            "machine": report.machine(),
            "commit": report.commit(),
            "budgets": budgets,
        },
    )
    click.echo(f"{'speed-up':>8}  {'budget':<34}" + "".join(f"{kind:>26}" for kind in KINDS))
    for row in budgets:
        click.echo(
            f"{row['speedup']:>7.2f}x  {row['budget']:<34}" + "".join(cell(row.get(kind)) for kind in KINDS)
        )
    click.echo(f"written: {target}")


def of_run(name: str, figures: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for every budget of a run: ``{budget, mean_ms, speedup, <kind>: {share, interval, images}}``."""
    try:
        latency, accuracy, prefixes = figures["latency"], figures["accuracy"], figures["prefixes"]
        dense, each = latency["dense"]["mean_ms"], [times["mean_ms"] for times in latency["prefixes"]]
        rows = []
        for key, title in BUDGETS.items():
            if key in latency:
                judged = {kind: of(row, key) for kind, row in accuracy.items() if kind in KINDS}
                rows.append({"budget": f"{name}: {title}", "mean_ms": latency[key]["mean_ms"], **judged})
        for t in range(len(each)):
            judged = {
                kind: {"share": row["right"][t], "interval": row["interval"][t], "images": row["images"]}
                for kind, row in prefixes.items()
                if kind in KINDS
            }
            rows.append({"budget": f"{name}: first {t + 1}", "mean_ms": each[t], **judged})
        medians = {
            f"{name}: {title}": latency["speedups"][key]["median"]
            for key, title in BUDGETS.items()
            if key in latency["speedups"]
        }
        medians[f"{name}: first {len(each)}"] = latency["speedup_worst"]
    except KeyError as error:
        raise InputError(
            f"{name}: report.json has no {error}; run eed-edge attack and bench first"
        ) from error
    return [row | {"speedup": medians.get(row["budget"], dense / row["mean_ms"])} for row in rows]


def of(row: dict[str, Any], key: str) -> dict[str, Any]:
    """Share, interval and images of one accuracy in a row of the report."""
    return {"share": row[key], "interval": row["interval"][key], "images": row["images"]}


def cell(accuracy: dict[str, Any] | None) -> str:
    """A share in percent with its interval and number of images."""
    if accuracy is None:
        return f"{'-':>26}"
    low, high = (100 * bound for bound in accuracy["interval"])
    return f"{100 * accuracy['share']:>7.1f} ({low:.1f}-{high:.1f}) {accuracy['images']:>5}"


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
