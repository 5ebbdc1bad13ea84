"""Reproduce the robustness figures: the demo over several seeds, mean and spread.

    .venv/bin/python benchmarks/robustness.py --demo            # three seeds, about 5 minutes each
    .venv/bin/python benchmarks/robustness.py --demo --seeds 0  # one

Writes benchmarks/results/demo-robustness.json. Runs are kept in --work, so a stopped benchmark
goes on where it was.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from eed_edge import report
from eed_edge.files import write_json

RESULTS = Path(__file__).parent / "results"


@click.command(help=__doc__)
@click.option("--demo", is_flag=True, required=True, help="The digits demo.")
@click.option("--seeds", default="0,1,2", show_default=True, help="Comma-separated.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/robustness"), show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULTS / "demo-robustness.json")
def main(demo: bool, seeds: str, work: Path, target: Path) -> None:
    """Run the demo for every seed and write mean and spread."""
    rows = [one_seed(int(seed), work) for seed in seeds.split(",")]
    figures = {
        "command": ".venv/bin/python benchmarks/robustness.py " + " ".join(sys.argv[1:]),
        "machine": report.machine(),
        "commit": report.commit(),
        "n": len(rows),
        "test_images": [row.pop("test_images") for row in rows],
        "mean_and_spread": {key: spread([row[key] for row in rows]) for key in rows[0]},
        "seeds": dict(zip(seeds.split(","), rows, strict=True)),
    }
    write_json(target, figures)
    for key, value in figures["mean_and_spread"].items():
        click.echo(
            f"{key:<24}{value['mean']:>9.4f} ± {value['std']:.4f}  ({value['min']:.4f} to {value['max']:.4f})"
        )
    click.echo(f"written: {target}")


def one_seed(seed: int, work: Path) -> dict[str, Any]:
    """The demo's figures for one seed, by the command that a user runs."""
    out, started = work / f"seed-{seed}", time.monotonic()
    fresh = not (out / "report.json").exists()
    if fresh:
        command = [sys.executable, "-m", "eed_edge", "demo", "--out", str(out), "--set", f"seed={seed}"]
        subprocess.run(command, check=True)
        (out / "seconds").write_text(str(time.monotonic() - started))
    found = json.loads((out / "report.json").read_text())
    row: dict[str, Any] = {
        f"{attack}_{who}": found["accuracy"][attack][who]
        for attack in ("clean", "pgd20")
        for who in ("dense", "static", "dynamic")
    }
    for attack in ("clean", "pgd20"):
        row[f"{attack}_gap"] = row[f"{attack}_dynamic"] - row[f"{attack}_dense"]
    return row | {
        "speedup_mean": found["latency"]["speedup_mean"],
        "speedup_worst": found["latency"]["speedup_worst"],
        "submodels_used_clean": found["submodels_used"]["clean"],
        "members": len(found["cost"]["params"]["each"]),
        "sparsity": found["sparsity"],
        "rd": found["rd"],
        "minutes": float((out / "seconds").read_text()) / 60,
        "test_images": found["accuracy"]["clean"]["images"],
    }


def spread(values: list[float]) -> dict[str, float]:
    """Mean, standard deviation of the sample, smallest and largest."""
    return {
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else 0.0,
        "min": min(values),
        "max": max(values),
    }


if __name__ == "__main__":
    main()
