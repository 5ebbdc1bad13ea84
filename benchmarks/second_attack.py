"""Attack again, with other seeds, what the adaptive list of an evaluation has left.

    .venv/bin/python benchmarks/second_attack.py models/cifar10-resnet18-w16 --data DIR
    .venv/bin/python benchmarks/second_attack.py build/demo/run --bundle build/demo/bundle

The folder is a published model or a run, with the verdicts on this bundle in per_image.npz or in --verdicts.
Of the images on which the deployed rule withstood the list, the first ones are attacked by the rule-aware
attack of the suite from new random starts, judged by the bundle at every step. If the list was strong
enough, hardly any falls.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from eed_edge import report
from eed_edge.arrays import Bools
from eed_edge.attacks.interface import Threat
from eed_edge.errors import EedError, InputError
from eed_edge.evaluate.attack_jobs import build_jobs, run_batch
from eed_edge.evaluate.models_compared import ModelsCompared
from eed_edge.evaluate.per_image import AttackVerdicts, read_per_image
from eed_edge.evaluate.suites import Suite, find_suite
from eed_edge.export.int8.quantised_team import simulated_team
from eed_edge.provenance import evaluated_digest, manifest_digest
from eed_edge.recipe import load_recipe
from eed_edge.report.judged_file import JUDGED_FILE, read_judged
from eed_edge.runtime.bundle.folder import load_bundle, open_bundle
from eed_edge.train.data.batches import Images, as_float, on_device
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.run_folder import open_run

RESULTS = Path(__file__).parent / "results" / "second-attack.json"


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--bundle", type=click.Path(exists=True, path_type=Path), help="Default: FOLDER/bundle.")
@click.option(
    "--verdicts", type=click.Path(exists=True, path_type=Path), help="Default: FOLDER/per_image.npz."
)
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--images", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--seeds", default=3, show_default=True, help="How many seeds, all other than the recipe's.")
@click.option("--suite", default="standard", show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(
    folder: Path,
    bundle: Path | None,
    verdicts: Path | None,
    data: Path | None,
    images: int,
    seeds: int,
    suite: str,
    target: Path,
) -> None:
    """Print and store how many of the images that were left fall to each seed, and to any."""
    bundle, verdicts = bundle or folder / "bundle", verdicts or folder / "per_image.npz"
    published = folder / "recipe.toml"
    recipe = load_recipe(str(published)) if published.exists() else open_run(folder).recipe
    files = open_bundle(bundle)
    team = simulated_team([files.read(entry.file) for entry in files.manifest.submodels])
    models = ModelsCompared({}, team, load_bundle(bundle, deadline_ms=float("inf")))
    judged = adaptive_verdicts(verdicts, folder, bundle)
    left = judged.rows[judged.right["dynamic"]][:images]
    if not len(left):
        raise InputError(f"{verdicts}: the adaptive list has left no image; nothing can be attacked again")
    drawn = on_device(splits_for_recipe(recipe, data).test[left], torch.device("cpu"))
    threats = [Threat(recipe.base.eps_255 / 255, recipe.seed + 1 + turn) for turn in range(seeds)]
    fell = np.array([fallen(models, drawn, find_suite(suite), threat) for threat in threats])
    figures: dict[str, Any] = {
        "command": ".venv/bin/python benchmarks/second_attack.py " + " ".join(sys.argv[1:]),
        "machine": report.machine(),
        "commit": report.commit(),
        "suite": suite,
        "left": int(judged.right["dynamic"].sum()),
        "of": len(judged.rows),
        "attacked_again": len(left),
        "fell_by_seed": fell.sum(1).tolist(),
        "fell": int(fell.any(0).sum()),
    }
    report.merge_report(target, {recipe.name: figures})
    count = f"{figures['fell']} fell, by seed {figures['fell_by_seed']}"
    click.echo(f"{recipe.name}: of {len(left)} images that were left, {count}")


def fallen(models: ModelsCompared, drawn: Images, suite: Suite, threat: Threat) -> Bools:
    """Whether each image falls to the rule-aware attack from random starts of the threat's seed."""
    jobs = [job for job in build_jobs(models, suite) if job.name in ("clean on all", "adaptive on rule")]
    with tempfile.TemporaryDirectory() as work:
        outcomes = run_batch(
            jobs, models, as_float(drawn.images), drawn.labels, threat=threat,
            folder=Path(work) / "again",  # its name seeds the attacks
            step=lambda name: None,
        )  # fmt: skip
    return ~outcomes["adaptive on rule"].right["dynamic"]


def adaptive_verdicts(path: Path, folder: Path, bundle: Path) -> AttackVerdicts:
    """The verdicts under the adaptive list; refuses those of another bundle and files without such a row."""
    stored, manifest = read_per_image(path), manifest_digest(bundle)
    if (folder / "recipe.toml").exists():
        digests = {row["evaluated"] for row in read_judged(folder / JUDGED_FILE) if row["bundle"] == manifest}
    else:
        digests = {evaluated_digest(folder, bundle).hexdigest()}
    if stored.evaluated not in {*digests, manifest}:
        raise InputError(
            f"{path}: expected verdicts on {bundle}, got those on another; name them by --verdicts"
        )
    if "adaptive" not in stored.attacks:
        raise InputError(
            f"{path}: expected a row 'adaptive', got {', '.join(stored.attacks)}; attack it first"
        )
    return stored.attacks["adaptive"]


if __name__ == "__main__":
    try:
        main()
    except EedError as error:
        sys.exit(f"error: {error}")
