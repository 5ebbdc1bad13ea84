"""Attack a published model from its files in models/NAME alone, without the run that made it.

    .venv/bin/python benchmarks/published.py cifar10-resnet18-w16 --data DIR --images 500

The members are read from the bundle's ONNX files, ``narrow`` and ``single`` from theirs, ``dense`` from
base.safetensors, each as a network in torch that has gradients; the deployed rule answers by onnxruntime.
``--team`` leaves the single networks out, and with them the transfers from them in the adaptive list.
``--against`` adds the differences to another bundle of the model, from the NPZ file of its verdicts.
The figures are merged into the report, the verdicts into the NPZ file beside it, both in place of those of
the same attacks; clean images and PGD-20 stay if they were judged on more images. Finished batches stay in
--work: a stopped measurement goes on, and one on more images attacks only the new ones, since images are
drawn 500 at a time. Under torchrun the processes share the batches.
"""

import functools
import hashlib
import itertools
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import nn

from eed_edge import report
from eed_edge.arrays import Ints
from eed_edge.attacks.interface import Threat
from eed_edge.errors import EedError, InputError
from eed_edge.evaluate import accuracy, stored_results
from eed_edge.evaluate.attack_jobs import build_jobs, run_batch
from eed_edge.evaluate.evaluate import draw_rows
from eed_edge.evaluate.evaluation_job import FORMAT
from eed_edge.evaluate.metrics.shift import judge_clean
from eed_edge.evaluate.models_compared import ModelsCompared, folded
from eed_edge.evaluate.outcome import Outcome
from eed_edge.evaluate.paired import paired_figures, paired_row
from eed_edge.evaluate.per_image import AttackVerdicts, PerImage, common_images, read_per_image
from eed_edge.evaluate.suites import Suite, find_suite
from eed_edge.export.int8.quantised_team import simulated_team
from eed_edge.export.int8.simulated_network import SimulatedNetwork
from eed_edge.provenance import BASELINES, manifest_digest
from eed_edge.recipe import load_recipe
from eed_edge.report.judged_file import JUDGED_FILE, read_judged
from eed_edge.runtime.bundle.folder import load_bundle, open_bundle
from eed_edge.train.data.batches import as_float, on_device
from eed_edge.train.data.splits import Split, splits_for_recipe
from eed_edge.train.networks.checkpoint import load_network
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.system.distributed import Processes, process_group

MODELS = Path(__file__).parents[1] / "models"
DRAW = 500
"""Images drawn at a time; a later draw does not change the batches of an earlier one."""
MOST = 84
"""Images attacked together, a sixth of a draw."""


@click.command(help=__doc__)
@click.argument("name")
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--images", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--suite", default="standard", show_default=True)
@click.option("--bundle", default="bundle", show_default=True, help="Its folder in models/NAME.")
@click.option("--team", is_flag=True, help="Attack the team alone.")
@click.option("--against", type=click.Path(exists=True, path_type=Path), help="Verdicts of another bundle.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/published"), show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), help="Default: models/NAME/report.json.")
def main(
    name: str,
    data: Path | None,
    images: int,
    suite: str,
    bundle: str,
    team: bool,
    against: Path | None,
    work: Path,
    target: Path | None,
) -> None:
    """Attack the drawn images and merge figures and verdicts into the report and the file beside it."""
    folder, recipe = MODELS / name, load_recipe(str(MODELS / name / "recipe.toml"))
    target = target or folder / "report.json"
    check_target(target, folder / bundle, team=team)
    models = read_models(folder, bundle, alone=team)
    chosen = find_suite(suite)
    kinds = {kind: chosen.kinds[kind] for kind in ("pgd20", chosen.strongest)}
    chosen = replace(chosen, kinds=kinds)  # l_inf alone
    test = splits_for_recipe(recipe, data).test
    rows = np.concatenate(draws(len(test), images, recipe.seed))
    threat = Threat(recipe.base.eps_255 / 255, recipe.seed)
    digest = hashlib.sha256(repr((FORMAT, suite, team, threat)).encode())
    bundles = [path for each in {folder / bundle, folder / "bundle"} for path in each.iterdir()]
    for path in sorted([*bundles, *folder.glob("*.onnx"), *folder.glob("base.safetensors")]):
        digest.update(path.read_bytes())
    with process_group(torch.device("cpu")) as (processes, _):
        outcomes = attack(
            models, chosen, test[rows], threat, work / f"{name}-{digest.hexdigest()[:12]}", processes
        )
        if processes.is_main:
            command = ".venv/bin/python benchmarks/published.py " + " ".join(sys.argv[1:])
            write(target, models, chosen, outcomes, rows, test, folder / bundle, command, against)


def check_target(target: Path, bundle: Path, *, team: bool) -> None:
    """Refuse a report of another bundle, and one whose single networks these figures would leave out."""
    old = report.read_report(target) if target.exists() else {}
    manifest = manifest_digest(bundle)
    digests = {(row["evaluated"], row["bundle"]) for row in read_judged(target.with_name(JUDGED_FILE))}
    singles = {"dense", *BASELINES} & old.get("accuracy", {}).get("clean", {}).keys()
    if old and (old.get("evaluated"), manifest) not in {*digests, (manifest, manifest)}:
        raise InputError(
            f"{target}: expected figures of {bundle}, got those of another; name a file by --json"
        )
    if team and singles:
        raise InputError(
            f"{target}: has figures of {', '.join(sorted(singles))}, which --team leaves out; name another"
            " file by --json"
        )


def read_models(folder: Path, bundle: str, *, alone: bool) -> ModelsCompared:
    """The published networks in torch, and the bundle; of one in int8, the float bundle's members, too."""
    deployed = load_bundle(folder / bundle, deadline_ms=float("inf"))
    singles: dict[str, nn.Module] = {}
    if not alone:
        singles["dense"] = folded(load_network(folder / "base.safetensors")[0])
        singles |= {
            name: SimulatedNetwork(path.read_bytes(), path.name).eval()
            for name in BASELINES
            if (path := folder / f"{name}.onnx").exists()
        }
    ensemble = members(folder / bundle)
    plain = deployed.manifest.precision == "float32"
    return ModelsCompared(singles, ensemble, deployed, None if plain else members(folder / "bundle"))


def members(bundle: Path) -> Ensemble:
    """The sub-models of a bundle as networks in torch that compute what its files do."""
    files = open_bundle(bundle)
    return simulated_team([files.read(entry.file) for entry in files.manifest.submodels])


def draws(available: int, count: int, seed: int) -> list[Ints]:
    """Places of ``count`` test images in draws of ``DRAW``, each rising; together those of ``draw_rows``."""
    edges = [*range(0, count, DRAW), count]
    return [
        np.setdiff1d(draw_rows(available, stop, seed), draw_rows(available, start, seed))
        for start, stop in itertools.pairwise(edges)
    ]


def batches(count: int) -> list[tuple[int, int]]:
    """First and last place of every batch of ``count`` images, equal in size within a draw."""
    parts = []
    for first in range(0, count, DRAW):
        images = min(DRAW, count - first)
        edges = np.linspace(first, first + images, -(-images // MOST) + 1).astype(int).tolist()
        parts += list(itertools.pairwise(edges))
    return parts


def attack(
    models: ModelsCompared, suite: Suite, drawn: Split, threat: Threat, work: Path, processes: Processes
) -> dict[str, Outcome]:
    """Run every job on every batch; the processes share the batches."""
    todo, images = build_jobs(models, suite), on_device(drawn, torch.device("cpu"))
    parts, done = batches(len(images)), {}
    for start, stop in parts[processes.shard]:
        batch = images[slice(start, stop)]
        pixels = hashlib.sha256(batch.images.numpy().tobytes() + batch.labels.numpy().tobytes())
        done[start] = run_batch(
            todo, models, as_float(batch.images), batch.labels, threat=threat,
            folder=work / pixels.hexdigest()[:12] / f"{start:06d}-{stop:06d}",
            step=functools.partial(say, start),
        )  # fmt: skip
    done = {start: each for part in processes.all_gather(done) for start, each in part.items()}
    return {job.name: Outcome.concatenate([done[start][job.name] for start, _ in parts]) for job in todo}


def say(start: int, name: str) -> None:
    """Tell of a finished job of the batch that begins at ``start``."""
    click.echo(f"  from {start}: {name}", err=True)


def write(
    target: Path,
    models: ModelsCompared,
    suite: Suite,
    outcomes: dict[str, Outcome],
    rows: Ints,
    test: Split,
    bundle: Path,
    command: str,
    against: Path | None = None,
) -> None:
    """Merge the figures into the report, the verdicts into the file beside it, and note the evaluation."""
    singles, count = list(models.singles), len(models.ensemble.members)
    new = (suite.strongest, "adaptive")
    right = accuracy.verdicts(outcomes, suite, singles=singles, members=count)
    old = report.read_report(target) if target.exists() else {}
    rows_before = old.get("accuracy", {})
    kept = {kind for kind in ("clean", "pgd20") if rows_before.get(kind, {}).get("images", 0) > len(rows)}
    right = {kind: row for kind, row in right.items() if kind not in kept}
    order = np.argsort(rows)
    verdicts = {
        kind: AttackVerdicts(rows[order], {name: each[order] for name, each in row.items()})
        for kind, row in right.items()
    }
    evaluated = old.get("evaluated") or manifest_digest(bundle)
    prefixes = accuracy.prefix_accuracies(outcomes, suite, test[rows].labels, members=count)
    attacks = accuracy.attack_summary(outcomes, suite)
    figures: dict[str, Any] = {
        "machine": old.get("machine") or report.machine(),  # latencies are of this machine
        "commit": report.commit(),
        "suite": suite.name,
        "accuracy": {kind: accuracy.figures(row) for kind, row in right.items()},
        "attacks": {kind: row for kind, row in attacks.items() if kind not in kept},
        "prefixes": {kind: row for kind, row in prefixes.items() if kind not in kept},
        "paired": paired_figures(verdicts),
        "adaptive": accuracy.adaptive_accuracy(outcomes, build_jobs(models, suite)),
        "submodels_used": {"clean": float(outcomes["clean on all"].submodels_used.mean())},
        "evaluated": evaluated,
        "shift": {"clean": judge_clean(models.deployed, on_device(test, torch.device("cpu")))},
    }
    per_image = target.with_name(f"per_image{target.stem.removeprefix('report')}.npz")
    other = read_per_image(against) if against else None  # before it is replaced
    stored_results.store_verdicts(per_image, PerImage(evaluated, len(test), verdicts), adds=bool(old))
    if other:
        figures["against"] = compared(read_per_image(per_image).attacks, other)
    stored_results.note_judged(target.with_name(JUDGED_FILE), bundle, evaluated, figures, command)
    merge(target, old, figures, commands={f"attack --only {kind}": command for kind in new})
    for kind, row in figures["accuracy"].items():
        shown = ", ".join(f"{name} {100 * row[name]:.1f}" for name in row["interval"])
        click.echo(f"{kind}, {row['images']} images: {shown}")


def merge(target: Path, old: dict[str, Any], figures: dict[str, Any], *, commands: dict[str, str]) -> None:
    """Merge into the report; a row of an attack replaces the old one with every network that it had."""
    rows = ("accuracy", "paired", "attacks", "prefixes", "commands")
    whole = {part: {**old.get(part, {}), **{"commands": commands, **figures}[part]} for part in rows}
    if "suite" in old:  # counted on the images of the whole suite
        del figures["submodels_used"]
    report.merge_report(target, {**figures, **whole}, without=[*rows, "against"])


def compared(verdicts: dict[str, AttackVerdicts], against: PerImage) -> dict[str, Any]:
    """The deployed rule against that of another bundle, by attack, on the images that both have."""
    rows = {}
    for kind, other in against.attacks.items():
        if kind in verdicts:
            mine, theirs = common_images(verdicts[kind], other)
            rows[kind] = {
                "images": len(mine.rows),
                **paired_row(mine.right["dynamic"], theirs.right["dynamic"]),
            }
    return rows


if __name__ == "__main__":
    try:
        main()
    except EedError as error:
        sys.exit(f"error: {error}")
