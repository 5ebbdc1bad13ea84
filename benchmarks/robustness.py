"""Reproduce the robustness figures: of the demo over several seeds, and of a recipe's card.

    .venv/bin/python benchmarks/robustness.py --demo            # three seeds, a quarter of an hour each
    .venv/bin/python benchmarks/robustness.py --demo --seeds 0  # one
    .venv/bin/python benchmarks/robustness.py --model cifar10-resnet18-w16 --data data --images 200

The demo writes benchmarks/results/demo-robustness.json; a model writes models/NAME/report.json, the verdicts
per image, the baselines as ONNX and, where it is under 20 MB, models/NAME/bundle. Runs are kept in --work,
so a stopped benchmark goes on.
"""

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from eed_edge import report
from eed_edge.atomic_files import write_json
from eed_edge.provenance import BASELINES

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
LARGEST_BUNDLE = 20_000_000


@click.command(help=__doc__)
@click.option("--demo", is_flag=True, help="The digits demo.")
@click.option("--seeds", default="0,1,2", show_default=True, help="Of the demo, comma-separated.")
@click.option("--model", help="A recipe's name.")
@click.option("--data", type=click.Path(path_type=Path), help="The images of the model.")
@click.option("--images", type=int, help="Test images of the model; default all.")
@click.option(
    "--more",
    type=(str, int),
    multiple=True,
    metavar="ATTACK N",
    help="Judge the model on N images by it alone.",
)
@click.option("--suite", default="standard", show_default=True, help="Of attacks on the model.")
@click.option("--baselines/--no-baselines", default=True, help="Train the networks of equal latency, too.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/robustness"), show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULTS / "demo-robustness.json")
def main(
    demo: bool,
    seeds: str,
    model: str | None,
    data: Path | None,
    images: int | None,
    more: tuple[tuple[str, int], ...],
    suite: str,
    baselines: bool,
    work: Path,
    target: Path,
) -> None:
    """Run the demo for every seed, or a model once, by the commands that a user calls."""
    if model is not None:
        one_model(model, data, images, work / model, suite=suite, baselines=baselines, more=more)
    if not demo:
        if model is None:
            raise click.UsageError("expected --demo or --model NAME")
        return
    results = {seed: one_seed(int(seed), work) for seed in seeds.split(",")}
    rows = [row for row, _ in results.values()]
    figures: dict[str, Any] = {
        "command": ".venv/bin/python benchmarks/robustness.py " + " ".join(sys.argv[1:]),
        "machine": report.machine(),
        "commit": report.commit(),
        "n": len(rows),
        "test_images": [row.pop("test_images") for row in rows],
        "mean_and_spread": {key: spread([row[key] for row in rows]) for key in rows[0]},
        "seeds": dict(zip(results, rows, strict=True)),
        "paired": {seed: paired for seed, (_, paired) in results.items()},
    }
    write_json(target, figures)
    for key, value in figures["mean_and_spread"].items():
        click.echo(
            f"{key:<24}{value['mean']:>9.4f} ± {value['std']:.4f}  ({value['min']:.4f} to {value['max']:.4f})"
        )
    click.echo(f"written: {target}")


def one_model(
    name: str,
    data: Path | None,
    images: int | None,
    work: Path,
    *,
    suite: str,
    baselines: bool,
    more: tuple[tuple[str, int], ...],
) -> None:
    """Train, export, time and attack a recipe; put its report and bundle beside it."""
    run, bundle, where = work / "run", work / "bundle", ["--data", data] if data else []
    eed_edge("train", name, *where, "--run", run)
    if not bundle.exists():
        eed_edge("export", run, bundle, "--single-file")
    for baseline in BASELINES if baselines else ():
        if not (run / f"{baseline}.onnx").exists():
            eed_edge(baseline, run, bundle, *where)
    some = ["--images", images] if images else []
    eed_edge("attack", run, bundle, *where, "--suite", suite, *some)
    eed_edge("bench", bundle, "--run", run)  # on the images that attack has left
    for attack, number in more:
        eed_edge("attack", run, bundle, *where, "--suite", suite, "--only", attack, "--images", number)
    eed_edge("report", run, bundle, "--html", work / "report.html")
    card = ROOT / "models" / name
    for file in ("report.json", "per_image.npz", "judged.jsonl", *(f"{name}.onnx" for name in BASELINES)):
        if (run / file).exists():
            shutil.copy(run / file, card / file)
    if sum(path.stat().st_size for path in bundle.iterdir()) < LARGEST_BUNDLE:
        shutil.rmtree(card / "bundle", ignore_errors=True)
        shutil.copytree(bundle, card / "bundle")
    click.echo(f"written: {card / 'report.json'}")


def eed_edge(*words: Any) -> None:
    """Call the command line and stop where it fails."""
    done = subprocess.run([sys.executable, "-m", "eed_edge", *map(str, words)], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def one_seed(seed: int, work: Path) -> tuple[dict[str, float], dict[str, Any]]:
    """The figures of the demo's recipe for one seed, and its paired comparisons."""
    out = work / f"seed-{seed}"
    run, bundle = out / "run", out / "bundle"
    eed_edge("train", "digits-resnet18", "--run", run, "--set", f"seed={seed}")
    if not bundle.exists():
        eed_edge("export", run, bundle, "--single-file")
    for baseline in BASELINES:
        if not (run / f"{baseline}.onnx").exists():
            eed_edge(baseline, run, bundle)
    if "suite" not in read(run):
        eed_edge("attack", run, bundle)
    eed_edge("bench", bundle, "--run", run)  # again each time: the machine may have been busy
    figures = read(run)
    accuracy, latency = figures["accuracy"], figures["latency"]
    row = {
        f"{attack}_{who}": accuracy[attack][who]
        for attack in ("clean", "pgd20", "apgd", "adaptive")
        for who in ("dense", *BASELINES, "static", "dynamic")
    }
    row |= {
        f"{attack}_dynamic_minus_{who}": figures["paired"][attack][who]["difference"]
        for attack in ("clean", "pgd20", "adaptive")
        for who in ("dense", *BASELINES, "static")
    }
    row |= {f"{name}_epochs": figures[name]["epochs"] for name in BASELINES}
    row |= {f"{name}_over_dynamic": latency[f"{name}_over_dynamic"]["median"] for name in BASELINES}
    row |= {
        f"speedup_{name}": latency["speedups"][name]["median"] for name in (*BASELINES, "pgd20", "slowdown")
    }
    return row | {
        "speedup_mean": latency["speedup_mean"],
        "speedup_worst": latency["speedup_worst"],
        "submodels_used_clean": figures["submodels_used"]["clean"],
        "submodels_used_slowdown": figures["submodels_used"]["slowdown"],
        "members": len(figures["cost"]["params"]["each"]),
        "sparsity": figures["sparsity"],
        "rd": figures["rd"],
        "test_images": accuracy["clean"]["images"],
    }, figures["paired"]


def read(run: Path) -> dict[str, Any]:
    """The run's report so far."""
    path = run / "report.json"
    return json.loads(path.read_text()) if path.exists() else {}


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
