"""Evaluate a run and its bundle on test images: clean and adversarial accuracy, and further analyses.

Under an attack, ``static`` is judged on images attacked against the mean of all members; ``dynamic``
requires the deployed rule, run by the runtime on the exported files, to be correct on the clean image
and on the images attacked against every prefix of the members. Only test images are used; no setting
is tuned on them.
"""

import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eed_edge import report
from eed_edge.arrays import Ints
from eed_edge.errors import InputError
from eed_edge.evaluate import accuracy, extra_analyses, stored_results
from eed_edge.evaluate.attack_jobs import build_jobs, run_batch
from eed_edge.evaluate.evaluation_job import EvaluationJob
from eed_edge.evaluate.evaluation_time import evaluation_seconds
from eed_edge.evaluate.example_images import stored_count
from eed_edge.evaluate.metrics.model_cost import costs
from eed_edge.evaluate.models_compared import ModelsCompared, ProgressCallback, folded
from eed_edge.evaluate.outcome import Outcome
from eed_edge.evaluate.paired import paired_figures
from eed_edge.evaluate.per_image import PER_IMAGE_FILE, AttackVerdicts, PerImage
from eed_edge.evaluate.suites import Suite, find_suite
from eed_edge.export.int8.quantised_team import simulated_team
from eed_edge.export.int8.simulated_network import SimulatedNetwork
from eed_edge.manifest import DENSE_INT8_FILE
from eed_edge.provenance import check_exported_from
from eed_edge.report.formats import duration
from eed_edge.report.judged_file import JUDGED_FILE
from eed_edge.report.notes_file import read_notes
from eed_edge.runtime.bundle.folder import load_bundle, open_bundle
from eed_edge.train.data import splits as data
from eed_edge.train.data.batches import as_float
from eed_edge.train.data.duplicates import (
    NEAR_CORRELATION,
    NEAR_DIFFERENCE,
    count_duplicates,
)
from eed_edge.train.data.splits import Split
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.run_folder import Run
from eed_edge.train.system.devices import choose_device
from eed_edge.train.system.distributed import Processes, process_group
from eed_edge.train.system.run_lock import locked

log = logging.getLogger(__name__)


def evaluate(
    run: Run,
    bundle: Path,
    root: data.ImagesSource = None,
    *,
    images: int | None = None,
    suite_name: str | None = None,
    only: Sequence[str] = (),
    device: str = "cpu",
    command: str = "",
    on_progress: ProgressCallback = lambda what, done, total: None,
) -> dict[str, Any]:
    """Evaluate the run's networks and its bundle on test images and merge the results into ``report.json``.

    Finished batches are stored in the run folder, so that an interrupted call can be resumed. Under
    torchrun the processes share the batches, and the one of rank 0 reports.

    Args:
        root: folder or file of the images, as in training, the images themselves, or their ``Splits``.
        images: number of test images, drawn by the recipe's seed; None takes all.
        suite_name: a key of ``SUITES``; None takes ``quick``, or ``clean`` for a run without attacks.
        only: attacks of the suite; empty for all of them and the further analyses.
        command: the command line, for the report.

    Returns:
        The merged report; in torchrun's other processes an empty one.

    Raises:
        CheckpointError: joint training has not finished, or run and bundle do not belong together.
        InputError: more images than test has, no such suite or attack.
    """
    suite = find_suite(suite_name or ("quick" if run.recipe.attacked else "clean"), only)
    with ExitStack() as lock:
        with process_group(choose_device(device)) as (processes, attack_device):
            if processes.is_main:
                lock.enter_context(locked(run.path))
            models = load_models(run, bundle, attack_device)
            splits = data.splits_for_recipe(run.recipe, root)
            run.check_data(splits)
            rows = draw_rows(len(splits.test), images, run.recipe.seed)
            drawn = splits.test[rows]
            job = EvaluationJob(run, bundle, suite, models, drawn, rows, command=command, by_name=bool(only))
            if processes.is_main and job.suite.kinds and not job.folder.exists():
                _log_estimate(job, attack_device, len(rows))
            outcomes = _attack(job, attack_device, processes, on_progress)
        if not processes.is_main:
            return {}
        verdicts = _verdicts(job, outcomes)
        report_figures, examples = _measure(job, outcomes, on_progress)
        report_figures["paired"] = paired_figures(verdicts)
        report_figures["duplicates"] = _duplicates(splits)
        merged = _store(job, report_figures, examples, verdicts, splits.test)
        shutil.rmtree(job.folder, ignore_errors=True)
        return merged


def _log_estimate(job: EvaluationJob, device: torch.device, count: int) -> None:
    """Say how long the attacks take."""
    seconds = evaluation_seconds(job, device)
    most = f"at most about {duration(seconds.most)}"
    if seconds.expected is not None and seconds.expected < 0.8 * seconds.most:
        most = f"about {duration(seconds.expected)} if as many fall as on tune, {most}"
    log.info("suite %s on %d test images: %s on this machine, one process", job.suite.name, count, most)


def _measure(
    job: EvaluationJob, outcomes: dict[str, Outcome], on_progress: ProgressCallback
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The report's figures and the arrays of example images; both shorter for a part of a suite."""
    figures = _figures(job.run, job.models, job.suite, outcomes, job.drawn.labels)
    if not job.suite.complete:
        return figures, {}
    parts, examples = extra_analyses.analyse_further(
        job.run, job.models.on_cpu(), job.images, outcomes,
        threat=job.threat, suite=job.suite, on_progress=on_progress,
    )  # fmt: skip
    figures |= parts
    if "slowdown" in parts:
        figures["submodels_used"]["slowdown"] = parts["slowdown"]["uncapped"]["slowdown"]["mean"]
    return figures, examples


def _verdicts(job: EvaluationJob, outcomes: dict[str, Outcome]) -> dict[str, AttackVerdicts]:
    singles, members = list(job.models.singles), len(job.models.ensemble.members)
    rows = accuracy.verdicts(outcomes, job.suite, singles=singles, members=members)
    return {kind: AttackVerdicts(job.rows, right) for kind, right in rows.items()}


def _store(
    job: EvaluationJob,
    figures: dict[str, Any],
    examples: Mapping[str, NDArray[Any]],
    verdicts: Mapping[str, AttackVerdicts],
    test: Split,
) -> dict[str, Any]:
    """Merge the figures into ``report.json``, the verdicts into ``per_image.npz``, and note the call.

    The images for ``bench`` go into ``evaluation.npz``.
    """
    run, path = job.run, job.run.path / "report.json"
    evaluated = run.evaluated_digest(job.bundle).hexdigest()
    adds = not job.suite.complete and path.exists() and report.read_report(path).get("evaluated") == evaluated
    if not adds or not (run.path / "evaluation.npz").exists():
        timed = test[draw_rows(len(test), min(stored_count(test), len(test)), run.recipe.seed)]
        stored_results.save_timed(run.path / "evaluation.npz", timed, job.models.deployed, examples)
    stored_results.store_verdicts(
        run.path / PER_IMAGE_FILE, PerImage(evaluated, len(test), verdicts), adds=adds
    )
    stored_results.note_judged(run.path / JUDGED_FILE, job.bundle, evaluated, figures, job.command)
    names = [f"attack --only {kind}" for kind in job.suite.kinds] if job.by_name else ["attack"]
    commands = dict.fromkeys(names, job.command) if job.command else {}
    return stored_results.merge_results(
        path, {**figures, "evaluated": evaluated}, commands=commands, adds=adds
    )


def _duplicates(splits: data.Splits) -> dict[str, Any]:
    """The report's ``duplicates``: pictures that two parts share, and what counts as one."""
    parts = {name: getattr(splits, name).images for name in ("train", "tune", "calib", "test")}
    near = {"correlation": NEAR_CORRELATION, "difference_255": NEAR_DIFFERENCE}
    return {"near": near, "pairs": count_duplicates(parts)}


def load_models(run: Run, bundle: Path, device: torch.device) -> ModelsCompared:
    """The run's networks on the device, and its bundle.

    Raises:
        CheckpointError: run and bundle do not belong together.
    """
    deployed = load_bundle(bundle, deadline_ms=math.inf)
    check_exported_from(deployed.manifest, run.path, run.member_paths())
    files, ensemble = open_bundle(bundle), Ensemble([folded(member) for member in run.ensemble().members])
    singles: dict[str, nn.Module] = {"dense": folded(run.base())}
    if DENSE_INT8_FILE in deployed.manifest.files:
        singles["dense_int8"] = SimulatedNetwork(files.read(DENSE_INT8_FILE), DENSE_INT8_FILE).eval()
    singles |= {name: folded(net) for name, net in run.baselines().items()}
    singles = {name: net.to(device) for name, net in singles.items()}
    if deployed.manifest.precision == "float32":
        return ModelsCompared(singles, ensemble.to(device), deployed)
    copies = simulated_team([files.read(entry.file) for entry in deployed.manifest.submodels])
    return ModelsCompared(singles, copies.to(device), deployed, ensemble.to(device))


def draw_rows(available: int, count: int | None, seed: int) -> Ints:
    """Places of ``count`` test images drawn by the seed, rising; None takes all.

    A smaller draw is a part of a larger one with the same seed.
    """
    if count is None:
        return np.arange(available)
    if count > available:
        raise InputError(f"images: expected at most the {available} test images, got {count}; ask for fewer")
    return np.sort(np.random.default_rng(seed).permutation(available)[:count])


def _attack(
    job: EvaluationJob, device: torch.device, processes: Processes, on_progress: ProgressCallback
) -> dict[str, Outcome]:
    """Run every job on every batch; the processes share the batches."""
    todo, images = build_jobs(job.models, job.suite), job.images
    starts = range(0, len(images), job.batch)
    shard = starts[processes.shard]
    done, total = 0, len(shard) * len(todo)

    def step(name: str) -> None:
        nonlocal done
        done += 1
        on_progress("attack", done, total)

    batches = {}
    for start in shard:
        batch = images[slice(start, start + job.batch)]
        outcomes = run_batch(
            todo,
            job.models,
            as_float(batch.images).to(device),
            batch.labels.to(device),
            threat=job.threat,
            folder=job.folder / f"{start:06d}",
            step=step,
        )
        if start >= stored_count(job.drawn):
            outcomes = {name: each.without_images() for name, each in outcomes.items()}
        batches[start] = outcomes
    batches = {start: each for part in processes.all_gather(batches) for start, each in part.items()}
    return {item.name: Outcome.concatenate([batches[start][item.name] for start in starts]) for item in todo}


def _figures(
    run: Run, models: ModelsCompared, suite: Suite, outcomes: dict[str, Outcome], labels: NDArray[np.int64]
) -> dict[str, Any]:
    members = len(models.ensemble.members)
    figures: dict[str, Any] = {
        "machine": report.machine(),
        "commit": report.commit(),
        "seed": run.recipe.seed,
        "recipe": run.recipe.as_dict(),
        **({"notes": notes} if (notes := read_notes(run.path)) else {}),
        **({"suite": suite.name} if suite.complete else {}),
        "accuracy": accuracy.accuracies(outcomes, suite, singles=list(models.singles), members=members),
        **({"attacks": accuracy.attack_summary(outcomes, suite)} if suite.kinds else {}),
        "prefixes": accuracy.prefix_accuracies(outcomes, suite, labels, members=members),
        "submodels_used": {"clean": float(outcomes["clean on all"].submodels_used.mean())},
        **({"rd": run.joint()["rd"]} if run.recipe.attacked else {}),
        **costs(run.base(), models.deployed.manifest),
    }
    if "pgd20" in suite.kinds:
        used = outcomes[f"pgd20 on mean-{members}"].submodels_used
        figures["submodels_used"]["pgd20"] = float(used.mean())
    if "adaptive" in figures["accuracy"]:
        figures["adaptive"] = accuracy.adaptive_accuracy(outcomes, build_jobs(models, suite))
    figures["precision"] = models.deployed.manifest.precision
    return figures
