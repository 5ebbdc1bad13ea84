"""PGD-20, AutoAttack and the adaptive list on the team alone.

    .venv/bin/python benchmarks/team_autoattack.py RUN BUNDLE --data DIR --images 1000 --json FILE

``eed-edge attack --suite standard`` attacks the dense base, too, which costs several times what all
prefixes of a pruned team cost together. Here the base and the baselines are left out, and with them the
transfers from them in the adaptive list. Batches of 100 images are stored in RUN, so that a stopped
measurement goes on; --start takes the drawn images from there on, for two processes with a part each.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import click
import torch

from eed_edge import report
from eed_edge.atomic_files import write_json
from eed_edge.evaluate import accuracy
from eed_edge.evaluate.attack_jobs import build_jobs, run_batch
from eed_edge.evaluate.evaluate import draw_rows, load_models
from eed_edge.evaluate.evaluation_job import EvaluationJob
from eed_edge.evaluate.outcome import Outcome
from eed_edge.evaluate.suites import find_suite
from eed_edge.train.data.batches import as_float
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.run_folder import open_run

KINDS = ("pgd20", "autoattack")


@click.command(help=__doc__)
@click.argument("run_folder", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--images", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option(
    "--start", type=click.IntRange(min=0), default=0, help="Of the drawn images, the first to attack now."
)
@click.option("--json", "target", type=click.Path(path_type=Path), required=True)
def main(run_folder: Path, bundle: Path, data: Path | None, images: int, start: int, target: Path) -> None:
    """Attack the drawn images from ``start`` on; with all from 0 on done, write the figures."""
    run = open_run(run_folder)
    models = dataclasses.replace(load_models(run, bundle, torch.device("cpu")), singles={})
    suite = find_suite("standard")
    suite = dataclasses.replace(suite, kinds={kind: suite.kinds[kind] for kind in KINDS})
    test = splits_for_recipe(run.recipe, data).test
    rows = draw_rows(len(test), images, run.recipe.seed)
    job = EvaluationJob(run, bundle, suite, models, test[rows], rows, command="", by_name=False)
    todo, members = build_jobs(models, suite), len(models.ensemble.members)
    parts: list[dict[str, Outcome]] = []
    for first in range(start, images, job.batch):
        batch = job.images[slice(first, first + job.batch)]
        parts.append(
            run_batch(
                todo, models, as_float(batch.images), batch.labels, threat=job.threat,
                folder=job.folder.with_name(f"team-{job.folder.name}") / f"{first:06d}",
                step=lambda name: click.echo(f"  {name}", err=True),
            )
        )  # fmt: skip
        outcomes = {item.name: Outcome.concatenate([part[item.name] for part in parts]) for item in todo}
        row = accuracy.accuracies(outcomes, suite, singles=[], members=members)
        done = min(len(parts) * job.batch, images - start)
        click.echo(f"{done} images: " + ", ".join(f"{kind} {100 * row[kind]['dynamic']:.1f}" for kind in row))
        if start == 0:
            labels = job.drawn.labels[:done]
            write(target, figures(outcomes, suite, labels, todo, members))


def figures(outcomes: dict[str, Outcome], suite: Any, labels: Any, todo: Any, members: int) -> dict[str, Any]:
    """What report.json has of the team under these attacks."""
    return {
        "accuracy": accuracy.accuracies(outcomes, suite, singles=[], members=members),
        "attacks": accuracy.attack_summary(outcomes, suite),
        "prefixes": accuracy.prefix_accuracies(outcomes, suite, labels, members=members),
        "adaptive": accuracy.adaptive_accuracy(outcomes, todo),
    }


def write(target: Path, rows: dict[str, Any]) -> None:
    """Write the figures with machine and command."""
    command = ".venv/bin/python benchmarks/team_autoattack.py " + " ".join(sys.argv[1:])
    write_json(target, {"command": command, "machine": report.machine(), "commit": report.commit(), **rows})


if __name__ == "__main__":
    main()
