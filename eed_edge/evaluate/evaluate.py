"""How many images stay right, clean and attacked, and what else an honest evaluation has to show.

Under an attack, ``static`` means images made against the mean of all members; ``dynamic`` means
that the deployed rule, run by the runtime on the exported files, is right on the clean image and
on the images made against every prefix of the members. Only test images are used, and nothing
that decides about them is changed by what is seen here.
"""

import io
import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eed_edge import report
from eed_edge.atomic_files import write_atomic
from eed_edge.attacks.base import Threat
from eed_edge.errors import InputError
from eed_edge.evaluate import accuracy, extra_analyses
from eed_edge.evaluate.metrics.model_cost import costs
from eed_edge.evaluate.models_compared import ModelsCompared, Watch, folded
from eed_edge.evaluate.suites import (
    Outcome,
    Suite,
    build_jobs,
    find_suite,
    run_batch,
)
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

FORMAT = 4
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
"""Parts of the report that hold for one bundle, one narrow network and one draw of images only."""
KEPT_IMAGES = 1000
"""Test images kept in the run folder, for ``bench``, however few were attacked: how many sub-models a mean
image takes is known the better the more there are. Also how many the parts beside accuracy look at."""


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
    on_progress: Watch,
) -> dict[str, Any]:
    """Judge the run's defences on test images and merge the figures into its ``report.json``.

    Finished batches lie in the run folder until all are there, so a call that was stopped goes on.
    Under torchrun the batches are shared out over the processes, and the first one reports.

    Args:
        root: where the images lie, as in training.
        images: how many test images, drawn by the recipe's seed; None takes all.
        only: attacks of the suite; none: all of them and everything beside accuracy.
        command: what the user called, for the report.

    Returns:
        The whole report; in the other processes of torchrun an empty one.

    Raises:
        CheckpointError: joint training has not finished, or run and bundle do not belong together.
        InputError: more images than test has, no such suite or attack.
    """
    chosen = find_suite(suite_name, only)
    with ExitStack() as lock:
        with process_group(choose_device(device)) as (processes, where):
            if processes.is_main:
                lock.enter_context(locked(run.path))
            defences = _defences(run, bundle, where)
            splits = data.splits_for_recipe(run.recipe, root)
            run.check_data(splits)
            kept = _kept(splits.test, images, run.recipe.seed)
            part = on_device(kept, torch.device("cpu"))
            threat = Threat(run.recipe.base.eps_255 / 255, run.recipe.seed)
            folder = run.path / f"attack-{_key(run, bundle, kept, chosen)[:12]}"
            outcomes = _attacked(
                defences, chosen, part, threat=threat, folder=folder, where=where, processes=processes,
                watch=on_progress,
            )  # fmt: skip
        if not processes.is_main:
            return {}
        figures = _figures(run, defences, chosen, outcomes, kept.labels)
        examples: dict[str, NDArray[Any]] = {}
        if chosen.complete:
            parts, examples = extra_analyses.analyse_further(
                run, defences.on_cpu(), part[slice(0, KEPT_IMAGES)], outcomes, threat=threat,
                eps_images=chosen.eps_images, watch=on_progress,
            )  # fmt: skip
            figures |= parts
            figures["submodels_used"]["slowdown"] = parts["slowdown"]["uncapped"]["slowdown"]["mean"]
        merged = _kept_in_run(
            run, bundle, chosen, figures, examples, test=splits.test, deployed=defences.deployed, only=only,
            command=command,
        )  # fmt: skip
        shutil.rmtree(folder, ignore_errors=True)
        return merged


def _kept_in_run(
    run: Run,
    bundle: Path,
    chosen: Suite,
    figures: dict[str, Any],
    examples: Mapping[str, NDArray[Any]],
    *,
    test: Split,
    deployed: Cascade,
    only: Sequence[str],
    command: str,
) -> dict[str, Any]:
    """Write the figures into ``report.json`` and the images for ``bench`` into ``evaluation.npz``."""
    path, evaluated = run.path / "report.json", run.evaluated_digest(bundle).hexdigest()
    adds = not chosen.complete and path.exists() and report.read_report(path).get("evaluated") == evaluated
    if not adds or not (run.path / "evaluation.npz").exists():
        timed = _kept(test, min(KEPT_IMAGES, len(test.labels)), run.recipe.seed)
        _save(run.path / "evaluation.npz", timed, deployed, examples)
    names = [f"attack --only {kind}" for kind in chosen.kinds] if only else ["attack"]
    commands = dict.fromkeys(names, command) if command else {}
    return _merge(path, {**figures, "evaluated": evaluated}, commands=commands, adds=adds)


def _save(path: Path, timed: Split, deployed: Cascade, examples: Mapping[str, NDArray[Any]]) -> None:
    """The images for ``bench``, how many sub-models each takes, and the strip of examples."""
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
    """Into the run's report, in the place of all that attacks have found before.

    Args:
        commands: what the user called, by the rows that it made.
        adds: these are of a part of the suite and leave what was found on the same files.
    """
    old = report.read_report(path) if path.exists() else {}
    told = old.get("commands", {})
    kept = {name: text for name, text in told.items() if adds or name.split()[0] != "attack"}
    if adds and "suite" in old:  # counted on the images of the whole suite
        del figures["submodels_used"]
    figures["commands"] = {**kept, **commands}
    return report.merge_report(path, figures, without=["commands", *(() if adds else PARTS)])


def _defences(run: Run, bundle: Path, where: torch.device) -> ModelsCompared:
    deployed = load_bundle(bundle, deadline_ms=math.inf)
    run.check_belongs(deployed.manifest)
    singles = {"dense": run.base()}
    if narrow := run.narrow():
        singles["narrow"] = narrow
    ensemble = Ensemble([folded(member) for member in run.ensemble().members])
    return ModelsCompared(
        {name: folded(net).to(where) for name, net in singles.items()}, ensemble.to(where), deployed
    )


def _kept(test: Split, wanted: int | None, seed: int) -> Split:
    chosen = _drawn(len(test.labels), wanted, seed)
    return Split(test.images[chosen], test.labels[chosen])


def _drawn(available: int, wanted: int | None, seed: int) -> NDArray[np.int64]:
    if wanted is None:
        return np.arange(available)
    if wanted > available:
        raise InputError(
            f"--images: expected at most the {available} test images, got {wanted}; ask for fewer"
        )
    return np.sort(np.random.default_rng(seed).permutation(available)[:wanted])


def _key(run: Run, bundle: Path, kept: Split, chosen: Suite) -> str:
    """SHA-256 of everything that the outcomes of a batch depend on."""
    state = run.evaluated_digest(bundle)
    state.update(repr((FORMAT, BATCH, chosen.name, list(chosen.kinds), run.recipe.seed)).encode())
    state.update(np.ascontiguousarray(kept.images).tobytes() + kept.labels.tobytes())
    return state.hexdigest()


def _attacked(
    defences: ModelsCompared,
    chosen: Suite,
    part: Images,
    *,
    threat: Threat,
    folder: Path,
    where: torch.device,
    processes: Processes,
    watch: Watch,
) -> dict[str, Outcome]:
    """Every job on every batch, the batches shared out over the processes."""
    todo = build_jobs(defences, chosen)
    starts = range(0, len(part), BATCH)
    own = starts[processes.shard]
    done, total = 0, len(own) * len(todo)

    def step(name: str) -> None:
        nonlocal done
        done += 1
        watch("attack", done, total)

    found = {}
    for start in own:
        batch = part[slice(start, start + BATCH)]
        found[start] = run_batch(
            todo,
            defences,
            as_float(batch.images).to(where),
            batch.labels.to(where),
            threat=threat,
            folder=folder / f"{start:06d}",
            step=step,
        )
    found = {start: outcomes for each in processes.all_gather(found) for start, outcomes in each.items()}
    return {job.name: Outcome.concatenate([found[start][job.name] for start in starts]) for job in todo}


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
