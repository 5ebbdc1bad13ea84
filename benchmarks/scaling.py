"""Growth of the cost of training: the pool's time with its size, the joint stage's memory with its members.

    .venv/bin/python benchmarks/scaling.py

The pool of the digits recipe's base, made with 2, 4 and 8 candidates in turn, several rounds; one joint epoch
with all of the paper's terms, with 1 to 8 unpruned members, each in a process of its own. Both columns should
grow by the same step. Writes benchmarks/results/scaling.json unless --json says otherwise.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from eed_edge import recipe as recipes
from eed_edge import report
from eed_edge.atomic_files import write_json
from eed_edge.prune import pool
from eed_edge.recipe import Recipe
from eed_edge.runtime.measure.timing import peak_rss_mib
from eed_edge.train import joint
from eed_edge.train.context import TrainingContext
from eed_edge.train.data import splits as data
from eed_edge.train.data.batches import Images
from eed_edge.train.networks import build
from eed_edge.train.networks.ensemble import Ensemble

RESULTS = Path(__file__).parent / "results"
SIZES, MEMBERS = (2, 4, 8), (1, 2, 4, 8)
SCORES = ("erm", "ase", "nis", "bnsf")


def digits(*settings: str) -> tuple[Recipe, Images, Images]:
    """The digits recipe with short stages, and its training and tune images."""
    short = ("base.epochs=1", "pool.epochs=1", "scores.epochs=1", "pool.judge_steps=2", *settings)
    recipe = recipes.load_recipe("digits-resnet18", short)
    splits = data.splits_for_recipe(recipe, None)
    train, tune = (
        Images(torch.from_numpy(part.images), torch.from_numpy(part.labels))
        for part in (splits.train, splits.tune)
    )
    return recipe, train, tune


def pool_seconds(rounds: int) -> dict[int, list[float]]:
    """Seconds to make a pool of each size; the rounds go through the sizes in turn."""
    recipe, train, tune = digits("pool.subsets=2")
    base = build.build_network(
        recipe.net.arch, classes=10, channels=train.images.shape[1], width=recipe.net.width, seed=0
    )
    seconds: dict[int, list[float]] = {size: [] for size in SIZES}
    for turn in range(rounds + 1):
        for size in SIZES:
            scores = dataclasses.replace(recipe.scores, names=SCORES[: size // 2])
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                pool.build_pool(
                    base, train, tune, recipe=dataclasses.replace(recipe, scores=scores), folder=Path(folder),
                    context=TrainingContext(),
                )  # fmt: skip
                if turn:  # the first round warms up
                    seconds[size].append(time.perf_counter() - started)
    return seconds


def joint_peak_mib(members: int) -> float:
    """Peak memory of this process after one joint epoch of that many members."""
    recipe, train, tune = digits("net.width=24")
    cfg = dataclasses.replace(recipe.joint, epochs=1, judge_steps=1, judge_images=64)
    shape = {"classes": 10, "channels": train.images.shape[1], "width": recipe.net.width}
    team = [build.build_network(recipe.net.arch, **shape, seed=i) for i in range(members)]
    with tempfile.TemporaryDirectory() as folder:
        joint.train_joint(
            Ensemble(team), train, tune, base=team[0], cfg=cfg,
            context=TrainingContext(augment=recipe.data, state=Path(folder) / "state"),
        )  # fmt: skip
    return peak_rss_mib()


def line(sizes: list[int], values: list[float]) -> dict[str, float]:
    """The straight line through medians: cost of one more, of none, and the largest relative distance."""
    step, none = np.polyfit(sizes, values, 1)
    apart = np.abs(np.polyval([step, none], sizes) / values - 1).max()
    return {"each": float(step), "none": float(none), "largest_distance": float(apart)}


@click.command(help=__doc__)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--members", type=int, hidden=True, help="Only print the memory of that many members.")
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULTS / "scaling.json")
def main(rounds: int, members: int | None, target: Path) -> None:
    """Measure both, print a line for each size, write the figures."""
    if members:
        click.echo(joint_peak_mib(members))
        return
    figures: dict[str, Any] = {}
    for name, sizes, measured in (
        ("pool_s", SIZES, pool_seconds(rounds)),
        ("joint_peak_mib", MEMBERS, {count: _peaks(count, rounds) for count in MEMBERS}),
    ):
        medians = [float(np.median(measured[size])) for size in sizes]
        figures[name] = {"measured": measured, "line": line(list(sizes), medians)}
        for size, value in zip(sizes, medians, strict=True):
            click.echo(f"{name:<16}{size:>3}{value:>10.1f}")
        fitted = figures[name]["line"]
        click.echo(
            f"{name:<16}each {fitted['each']:.2f}, none {fitted['none']:.2f},"
            f" at most {100 * fitted['largest_distance']:.1f} % from the line"
        )
    write_json(
        target,
        {
            "command": ".venv/bin/python benchmarks/scaling.py " + " ".join(sys.argv[1:]),
            "machine": report.machine(),
            "commit": report.commit(),
            "n": rounds,
            **figures,
        },
    )
    click.echo(f"written: {target}")


def _peaks(members: int, rounds: int) -> list[float]:
    command = [sys.executable, __file__, "--members", str(members)]
    return [
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(rounds)
    ]


if __name__ == "__main__":
    main()
