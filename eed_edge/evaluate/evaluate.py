"""Evaluate a run and its bundle on test images: clean and adversarial accuracy, and further analyses.

Under an attack, ``static`` is judged on images attacked against the mean of all members; ``dynamic``
requires the deployed rule, run by the runtime on the exported files, to be correct on the clean image
and on the images attacked against every prefix of the members. Only test images are used; no setting
is tuned on them.
"""

import io
import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eed_edge import report
from eed_edge.atomic_files import write_atomic
from eed_edge.attacks.interface import Threat
from eed_edge.errors import InputError
from eed_edge.evaluate import accuracy, extra_analyses
from eed_edge.evaluate.metrics.model_cost import costs
from eed_edge.evaluate.models_compared import ModelsCompared, ProgressCallback, folded
from eed_edge.evaluate.outcome import Outcome
from eed_edge.evaluate.suites import Suite, build_jobs, find_suite, run_batch
from eed_edge.provenance import check_exported_from
from eed_edge.runtime.bundle.folder import load_bundle
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.train.data import splits as data
from eed_edge.train.data.batches import Images, as_float, on_device
from eed_edge.train.data.splits import Split
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.run_folder import Run
from eed_edge.train.system.devices import choose_device
from eed_edge.train.system.distributed import Processes, process_group
from eed_edge.train.system.run_lock import locked

FORMAT = 5
BATCH = 100
PARTS = (
    "suite",
    "accuracy",
    "attacks",
    "adaptive",
    "slowdown",
    "replay",
    "shift",
    "curves",
    "prefixes",
    "submodels_used",
)
"""Parts of the report that are valid only for one bundle, one narrow network and one set of images."""
KEPT_IMAGES = 1000
"""Test images stored in the run folder for ``bench``, independent of how many were attacked, so that the
mean number of sub-models used is precise. Also the number of images in the further analyses."""


def evaluate(
    run: Run,
    bundle: Path,
    root: Path | None,
    *,
    images: int | None,
    suite_name: str = "quick",
    only: Sequence[str] = (),
    device: str = "cpu",
    command: str = "",
    on_progress: ProgressCallback,
) -> dict[str, Any]:
    """Evaluate the run's networks and its bundle on test images and merge the results into ``report.json``.

    Finished batches are stored in the run folder, so that an interrupted call can be resumed. Under
    torchrun the processes share the batches, and the one of rank 0 reports.

    Args:
        root: folder or file of the images, as in training.
        images: number of test images, drawn by the recipe's seed; None takes all.
        only: attacks of the suite; empty for all of them and the further analyses.
        command: the command line, for the report.

    Returns:
        The merged report; in torchrun's other processes an empty one.

    Raises:
        CheckpointError: joint training has not finished, or run and bundle do not belong together.
        InputError: more images than test has, no such suite or attack.
    """
    suite = find_suite(suite_name, only)
    with ExitStack() as lock:
        with process_group(choose_device(device)) as (processes, attack_device):
            if processes.is_main:
                lock.enter_context(locked(run.path))
            defences = _load_models(run, bundle, attack_device)
            splits = data.splits_for_recipe(run.recipe, root)
            run.check_data(splits)
            drawn = _draw(splits.test, images, run.recipe.seed)
            job = _Evaluation(run, bundle, suite, defences, drawn, command=command, by_name=bool(only))
            outcomes = _attack(job, attack_device, processes, on_progress)
        if not processes.is_main:
            return {}
        report_figures, examples = _measure(job, outcomes, on_progress)
        merged = _store(job, report_figures, examples, splits.test)
        shutil.rmtree(job.folder, ignore_errors=True)
        return merged


@dataclass(frozen=True)
class _Evaluation:
    """One call of ``evaluate``: what is judged, on which images and with which attacks.

    drawn: the test images that are attacked.
    command: the command line, for the report.
    by_name: the attacks were selected with ``--only``.
    """

    run: Run
    bundle: Path
    suite: Suite
    defences: ModelsCompared
    drawn: Split
    command: str
    by_name: bool

    @property
    def threat(self) -> Threat:
        """The recipe's radius and seed."""
        return Threat(self.run.recipe.base.eps_255 / 255, self.run.recipe.seed)

    @property
    def images(self) -> Images:
        """The drawn images on the CPU."""
        return on_device(self.drawn, torch.device("cpu"))

    @cached_property
    def folder(self) -> Path:
        """Where finished batches are stored; the name is a digest of all that they depend on."""
        state = self.run.evaluated_digest(self.bundle)
        kinds, seed = list(self.suite.kinds), self.run.recipe.seed
        state.update(repr((FORMAT, BATCH, self.suite.name, kinds, seed)).encode())
        state.update(np.ascontiguousarray(self.drawn.images).tobytes() + self.drawn.labels.tobytes())
        return self.run.path / f"attack-{state.hexdigest()[:12]}"


def _measure(
    job: _Evaluation, outcomes: dict[str, Outcome], on_progress: ProgressCallback
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The report's figures and the arrays of example images; both shorter for a part of a suite."""
    figures = _figures(job.run, job.defences, job.suite, outcomes, job.drawn.labels)
    if not job.suite.complete:
        return figures, {}
    parts, examples = extra_analyses.analyse_further(
        job.run, job.defences.on_cpu(), job.images[slice(0, KEPT_IMAGES)], outcomes, threat=job.threat,
        suite=job.suite, watch=on_progress,
    )  # fmt: skip
    figures |= parts
    figures["submodels_used"]["slowdown"] = parts["slowdown"]["uncapped"]["slowdown"]["mean"]
    return figures, examples


def _store(
    job: _Evaluation, figures: dict[str, Any], examples: Mapping[str, NDArray[Any]], test: Split
) -> dict[str, Any]:
    """Merge the figures into ``report.json`` and write the images for ``bench`` into ``evaluation.npz``."""
    run, path = job.run, job.run.path / "report.json"
    evaluated = run.evaluated_digest(job.bundle).hexdigest()
    adds = not job.suite.complete and path.exists() and report.read_report(path).get("evaluated") == evaluated
    if not adds or not (run.path / "evaluation.npz").exists():
        timed = _draw(test, min(KEPT_IMAGES, len(test.labels)), run.recipe.seed)
        _save(run.path / "evaluation.npz", timed, job.defences.deployed, examples)
    names = [f"attack --only {kind}" for kind in job.suite.kinds] if job.by_name else ["attack"]
    commands = dict.fromkeys(names, job.command) if job.command else {}
    return _merge(path, {**figures, "evaluated": evaluated}, commands=commands, adds=adds)


def _save(path: Path, timed: Split, deployed: Cascade, examples: Mapping[str, NDArray[Any]]) -> None:
    """Write the images for ``bench``, the sub-models used on each, and the example images."""
    images = as_float(torch.from_numpy(timed.images)).contiguous().numpy()
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        images=timed.images.transpose(0, 2, 3, 1),
        labels=timed.labels,
        submodels_used=deployed(images).submodels_used,
        **examples,  # type: ignore[arg-type]
    )
    write_atomic(path, stream.getvalue())


def _merge(path: Path, figures: dict[str, Any], *, commands: dict[str, str], adds: bool) -> dict[str, Any]:
    """Merge into the run's report in place of earlier attack results.

    Args:
        commands: command line by the rows it produced.
        adds: the figures are a part of a suite and keep earlier results on the same files.
    """
    old = report.read_report(path) if path.exists() else {}
    earlier = old.get("commands", {})
    kept = {name: text for name, text in earlier.items() if adds or name.split()[0] != "attack"}
    if adds and "suite" in old:  # counted on the images of the whole suite
        del figures["submodels_used"]
    figures["commands"] = {**kept, **commands}
    return report.merge_report(path, figures, without=["commands", *(() if adds else PARTS)])


def _load_models(run: Run, bundle: Path, device: torch.device) -> ModelsCompared:
    deployed = load_bundle(bundle, deadline_ms=math.inf)
    check_exported_from(deployed.manifest, run.path, run.member_paths())
    singles = {"dense": run.base()}
    if narrow := run.narrow():
        singles["narrow"] = narrow
    ensemble = Ensemble([folded(member) for member in run.ensemble().members])
    return ModelsCompared(
        {name: folded(net).to(device) for name, net in singles.items()}, ensemble.to(device), deployed
    )


def _draw(test: Split, count: int | None, seed: int) -> Split:
    """``count`` test images drawn by the seed, in their order; None takes all."""
    available = len(test.labels)
    if count is None:
        rows = np.arange(available)
    elif count > available:
        raise InputError(
            f"--images: expected at most the {available} test images, got {count}; ask for fewer"
        )
    else:
        rows = np.sort(np.random.default_rng(seed).permutation(available)[:count])
    return Split(test.images[rows], test.labels[rows])


def _attack(
    job: _Evaluation, device: torch.device, processes: Processes, on_progress: ProgressCallback
) -> dict[str, Outcome]:
    """Run every job on every batch; the processes share the batches."""
    todo, images = build_jobs(job.defences, job.suite), job.images
    starts = range(0, len(images), BATCH)
    shard = starts[processes.shard]
    done, total = 0, len(shard) * len(todo)

    def step(name: str) -> None:
        nonlocal done
        done += 1
        on_progress("attack", done, total)

    batches = {}
    for start in shard:
        batch = images[slice(start, start + BATCH)]
        batches[start] = run_batch(
            todo,
            job.defences,
            as_float(batch.images).to(device),
            batch.labels.to(device),
            threat=job.threat,
            folder=job.folder / f"{start:06d}",
            step=step,
        )
    batches = {start: each for part in processes.all_gather(batches) for start, each in part.items()}
    return {item.name: Outcome.concatenate([batches[start][item.name] for start in starts]) for item in todo}


def _figures(
    run: Run, defences: ModelsCompared, chosen: Suite, outcomes: dict[str, Outcome], labels: NDArray[np.int64]
) -> dict[str, Any]:
    members = len(defences.ensemble.members)
    told: dict[str, Any] = {
        "machine": report.machine(),
        "commit": report.commit(),
        "seed": run.recipe.seed,
        "recipe": run.recipe.as_dict(),
        **({"suite": chosen.name} if chosen.complete else {}),
        "accuracy": accuracy.accuracies(outcomes, chosen, singles=list(defences.singles), members=members),
        "attacks": accuracy.attack_summary(outcomes, chosen),
        "prefixes": accuracy.prefix_accuracies(outcomes, chosen, labels, members=members),
        "submodels_used": {"clean": float(outcomes["clean on all"].submodels_used.mean())},
        "rd": run.joint()["rd"],
        **costs(run.base(), defences.deployed.manifest),
    }
    if "pgd20" in chosen.kinds:
        used = outcomes[f"pgd20 on mean-{members}"].submodels_used
        told["submodels_used"]["pgd20"] = float(used.mean())
    if "adaptive" in told["accuracy"]:
        told["adaptive"] = accuracy.adaptive_accuracy(outcomes, build_jobs(defences, chosen))
    return told
