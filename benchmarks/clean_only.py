"""Clean-only mode on the digits: accuracy of the team against dense on the same images, and its speed.

    .venv/bin/python benchmarks/clean_only.py             # three seeds, some minutes each
    .venv/bin/python benchmarks/clean_only.py --seeds 0   # one

Writes benchmarks/results/clean-only.json. Runs are kept in --work: a second call measures the speed again.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from eed_edge import report
from eed_edge.atomic_files import write_json

RESULTS = Path(__file__).resolve().parent / "results"
RECIPE = "digits-resnet18-clean"


@click.command(help=__doc__)
@click.option("--seeds", default="0,1,2", show_default=True, help="Comma-separated.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/clean-only"), show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULTS / "clean-only.json")
def main(seeds: str, work: Path, target: Path) -> None:
    """Train, export, judge and time the recipe for every seed, by the commands that a user calls."""
    rows = {seed: one_seed(int(seed), work / f"seed-{seed}") for seed in seeds.split(",")}
    figures: dict[str, Any] = {
        "command": ".venv/bin/python benchmarks/clean_only.py " + " ".join(sys.argv[1:]),
        "machine": report.machine(),
        "commit": report.commit(),
        "n": len(rows),
        "mean": {
            key: statistics.fmean(row[key] for row in rows.values())
            for key in (
                "dense",
                "static",
                "dynamic",
                "images_less_than_dense",
                "speedup_mean",
                "speedup_worst",
            )
        },
        "seeds": rows,
    }
    write_json(target, figures)
    for seed, row in rows.items():
        click.echo(
            f"seed {seed}: dense {row['dense']:.4f}, dynamic {row['dynamic']:.4f} of {row['images']} images,"
            f" {row['images_less_than_dense']} fewer right; {row['speedup_mean']:.2f} times as fast"
        )
    click.echo(f"written: {target}")


def one_seed(seed: int, work: Path) -> dict[str, Any]:
    """The figures of one seed; ``images_less_than_dense`` is paired, image by image."""
    run, bundle = work / "run", work / "bundle"
    eed_edge("train", RECIPE, "--run", run, "--set", f"seed={seed}")
    if not bundle.exists():
        eed_edge("export", run, bundle)
    eed_edge("attack", run, bundle)
    eed_edge("bench", bundle, "--run", run)  # again each time: the machine may have been busy
    figures = json.loads((run / "report.json").read_text())
    clean, paired, latency = (
        figures["accuracy"]["clean"],
        figures["paired"]["clean"]["dense"],
        figures["latency"],
    )
    return {
        **{name: clean[name] for name in ("dense", "static", "dynamic", "images")},
        "images_less_than_dense": paired["only_other"] - paired["only_dynamic"],
        "paired": paired,
        "speedup_mean": latency["speedup_mean"],
        "speedup_worst": latency["speedup_worst"],
        "submodels_used": figures["submodels_used"]["clean"],
        "members": len(figures["cost"]["params"]["each"]),
        "sparsity": figures["sparsity"],
        "conditions": latency["conditions"],
    }


def eed_edge(*words: Any) -> None:
    """Call the command line and stop where it fails."""
    done = subprocess.run([sys.executable, "-m", "eed_edge", *map(str, words)], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
