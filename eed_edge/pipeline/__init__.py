"""The training flow on one page: base → pool → select → joint; what is there already is not done again."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from eed_edge.errors import RecipeError
from eed_edge.pipeline import learning, team
from eed_edge.pipeline.team import attacked_probs
from eed_edge.prune import pool
from eed_edge.recipe import Recipe
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images, on_device
from eed_edge.train.data.splits import Splits
from eed_edge.train.run_folder import (
    Run,
    create_or_resume,
    first_difference,
    images_digest,
    open_run,
    save_images,
)
from eed_edge.train.system.devices import choose_device, reraise_out_of_memory
from eed_edge.train.system.distributed import Processes, process_group
from eed_edge.train.system.epoch_log import EpochLog, TrainingCallback
from eed_edge.train.system.run_lock import locked
from eed_edge.train.system.time_limit import TimeLimit

__all__ = ["STAGES", "attacked_probs", "choose_device", "train"]
StageCallback = Callable[[str, Run], None]
"""Called with the name of a stage when it has been done, and the run."""


@dataclass(frozen=True)
class Stage:
    """One step of the flow.

    make: does it.
    done: the files that are there when it is done.
    remedy: what to do when memory is too small for it.
    """

    make: Callable[[TrainingContext], None]
    done: Callable[[Recipe], list[str]]
    remedy: str


STAGES = {
    "base": Stage(
        learning.base, lambda _: ["base.safetensors"], "lower base.batch (now {recipe.base.batch})"
    ),
    "pool": Stage(
        learning.pool,
        lambda recipe: [f"pool/{candidate.name}.safetensors" for candidate in pool.candidates(recipe)],
        "lower pool.batch (now {recipe.pool.batch})",
    ),
    "select": Stage(
        team.select,
        lambda _: ["selection.json"],
        "lower the number of candidates (scores.names, pool.subsets)",
    ),
    "joint": Stage(
        team.joint,
        lambda _: ["joint.json"],
        "lower joint.batch (now {recipe.joint.batch}) or raise prune.sparsity for a smaller team",
    ),
}


def train(
    recipe: Recipe,
    splits: Splits,
    path: Path,
    *,
    until: str = "joint",
    device: str = "auto",
    on_record: TrainingCallback,
    on_stage_end: StageCallback = lambda stage, run: None,
    compact: bool = False,
    time_limit: TimeLimit | None = None,
) -> Run:
    """Run the stages of ``recipe`` up to ``until`` in the folder ``path``, each one only if it is not done.

    Under torchrun, base and joint training share every batch out over the processes, and the
    candidates of the pool are shared out, each to one of them.

    Args:
        splits: train, tune and calib images; test is not touched.
        on_record: called with a record after every batch and epoch.
        on_stage_end: called with every stage that was done in this call.
        compact: keep base and candidates in half precision; their rounded weights are then used.
        time_limit: when to stop at a checkpoint; None never does.

    Raises:
        CheckpointError: the folder holds another run, or a damaged one, or another process works on it.
        DeviceError: the device is not there, or its memory is too small.
        Paused: the deadline is over before the end.
        RecipeError: the processes do not agree on what to do.
    """
    with (
        process_group(choose_device(device)) as (processes, chosen),
        locked(path) if processes.is_main else nullcontext(),
    ):
        _agree(processes, recipe, splits, until)
        with reraise_out_of_memory("lower data.limit, or take a larger one"):
            train_images, tune = on_device(splits.train, chosen), on_device(splits.tune, chosen)
        run = _create_or_resume(processes, recipe, splits, path, train_images)
        journal = EpochLog(path / ("log.jsonl" if processes.is_main else f"log-{processes.rank}.jsonl"))
        context = TrainingContext(
            run, train_images, tune, journal, on_record, compact, time_limit or TimeLimit(), processes
        )
        for name in list(STAGES)[: list(STAGES).index(until) + 1]:
            stage = STAGES[name]
            if not context.any_missing(stage.done(recipe)):
                continue
            context.pause_if_due(name)
            with reraise_out_of_memory(
                f"in stage {name}: {stage.remedy.format(recipe=recipe)}, or take a larger one"
            ):
                stage.make(context)
            processes.barrier()
            if processes.is_main:
                on_stage_end(name, run)
        if processes.is_main and until == "joint":
            save_images(path / "calib.npz", splits.calib)
    return run


def _agree(processes: Processes, recipe: Recipe, splits: Splits, until: str) -> None:
    """Refuse processes that were not started with the same words."""
    if processes.size == 1:
        return
    everyone = processes.all_gather((recipe.as_dict(), images_digest(splits), until))
    for rank, (there, images, end) in enumerate(everyone):
        found = first_difference(everyone[0][0], there, sides=("in process 0", f"in process {rank}"))
        found = found or ("" if images == everyone[0][1] else "the images differ")
        found = found or ("" if end == everyone[0][2] else "--until differs")
        if found:
            error = f"the processes do not agree ({found}); start all with the same recipe, --set and --data"
            processes.raise_on_main(RecipeError(error))


def _create_or_resume(
    processes: Processes, recipe: Recipe, splits: Splits, path: Path, train_images: Images
) -> Run:
    """The run of the folder, checked and begun by the first process."""
    if processes.is_main:
        if not (path / "base.safetensors").exists():  # what cannot work fails before all else
            few = train_images[slice(0, 2)]
            net, _ = learning.new_base(recipe, len(splits.classes), train_images, path / "base.state")
            pool.check_prunable(net, few, recipe)
        create_or_resume(path, recipe, splits)
        EpochLog(path / "log.jsonl").merge_from(path.glob("log-*.jsonl"))
    processes.barrier()
    return open_run(path)
