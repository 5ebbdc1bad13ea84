"""Training flow: base, pool, select and joint stages; a stage whose files exist is skipped."""

import dataclasses
import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from eed_edge.errors import RecipeError
from eed_edge.pipeline.base_stage import make_base, new_base
from eed_edge.pipeline.joint_stage import make_team
from eed_edge.pipeline.pool_stage import make_pool
from eed_edge.pipeline.registered_names import check_registered_names
from eed_edge.pipeline.run_latency_table import keep_latency_table
from eed_edge.pipeline.run_notes import data_notes
from eed_edge.pipeline.select_stage import select_members
from eed_edge.pipeline.stage_context import StageContext
from eed_edge.prune.candidates import candidates
from eed_edge.prune.dry_run import check_prunable
from eed_edge.recipe import Recipe
from eed_edge.report.notes_file import write_notes
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images, on_device
from eed_edge.train.data.duplicates import count_duplicates, duplicates_line
from eed_edge.train.data.splits import Splits
from eed_edge.train.fingerprints import first_difference, images_digest
from eed_edge.train.networks.build import Classifier
from eed_edge.train.run_folder import Run, create_or_resume, open_run, save_images
from eed_edge.train.system.devices import choose_device, reraise_out_of_memory
from eed_edge.train.system.distributed import Processes, process_group
from eed_edge.train.system.epoch_log import EpochLog
from eed_edge.train.system.run_lock import locked

log = logging.getLogger(__name__)
FEW = 3
"""Images that the base is examined with."""
StageCallback = Callable[[str, Run], None]
"""Called with the name of a finished stage and the run."""
ExamineNetwork = Callable[[Classifier, Images, Recipe], object]
"""Called with the base before it is trained, a few images and the recipe; raises what is wrong."""


@dataclass(frozen=True)
class Stage:
    """One step of the flow.

    make: the function that does it.
    files: the files of the run that exist when it is done.
    remedy: what to do when memory is too small for it.
    """

    make: Callable[[StageContext], None]
    files: Callable[[Recipe], list[str]]
    remedy: str


STAGES = {
    "base": Stage(make_base, lambda _: ["base.safetensors"], "lower base.batch (now {recipe.base.batch})"),
    "pool": Stage(
        make_pool,
        lambda recipe: [f"pool/{candidate.name}.safetensors" for candidate in candidates(recipe)],
        "lower pool.batch (now {recipe.pool.batch})",
    ),
    "select": Stage(
        select_members,
        lambda _: ["selection.json"],
        "lower the number of candidates (scores.names, pool.subsets)",
    ),
    "joint": Stage(
        make_team,
        lambda _: ["joint.json"],
        "lower joint.batch (now {recipe.joint.batch}) or raise prune.sparsity for a smaller team",
    ),
}


def train(
    recipe: Recipe,
    splits: Splits,
    path: Path,
    *,
    context: TrainingContext | None = None,
    until: str = "joint",
    examine: ExamineNetwork = check_prunable,
    on_stage_end: StageCallback = lambda stage, run: None,
) -> Run:
    """Run the stages of ``recipe`` up to ``until`` in the folder ``path``, skipping those already done.

    Under torchrun, base and joint training share out every batch over the processes, and each
    candidate of the pool is made by one process.

    Args:
        splits: train, tune and calib images; test is not read.
        context: callbacks, time limit, device and whether to save in half precision.
        examine: examines the base before any training.
        on_stage_end: called after every stage that this call has run.

    Raises:
        CheckpointError: the folder holds another run or a damaged one, or another process works on it.
        DeviceError: the device is missing, or its memory is too small.
        Paused: the time limit has expired before the end.
        RecipeError: a name is in no registry, or the processes do not agree on what to do.
    """
    check_registered_names(recipe)
    context = context or TrainingContext()
    with (
        process_group(choose_device(context.device)) as (processes, device),
        locked(path) if processes.is_main else nullcontext(),
    ):
        _check_agreement(processes, recipe, splits, until)
        with reraise_out_of_memory("lower data.limit, or take a larger one"):
            train_images, tune = on_device(splits.train, device), on_device(splits.tune, device)
        if processes.is_main and not (path / "base.safetensors").exists():  # fail before any training
            net, _ = new_base(recipe, len(splits.classes), train_images, path / "base.state")
            if not (path / "base.state").exists():
                examine(net, train_images[slice(0, FEW)], recipe)
            parts = {"train": splits.train.images, "tune": splits.tune.images, "calib": splits.calib.images}
            log.info("%s", duplicates_line(count_duplicates(parts)))
        run = _create_or_resume(processes, recipe, splits, path)
        epoch_log = EpochLog(path / ("log.jsonl" if processes.is_main else f"log-{processes.rank}.jsonl"))
        training = dataclasses.replace(context, processes=processes, augment=recipe.data)
        stages = StageContext(run, train_images, tune, epoch_log, training)
        for name in list(STAGES)[: list(STAGES).index(until) + 1]:
            if stages.any_missing(STAGES[name].files(recipe)):
                _run_stage(name, stages)
                if processes.is_main:
                    on_stage_end(name, run)
        if processes.is_main and until == "joint":
            save_images(path / "calib.npz", splits.calib)
    return run


def _run_stage(name: str, context: StageContext) -> None:
    """Run one stage in all processes; out-of-memory errors name the setting to lower."""
    context.pause_if_due(name)
    remedy = STAGES[name].remedy.format(recipe=context.run.recipe)
    with reraise_out_of_memory(f"in stage {name}: {remedy}, or take a larger one"):
        STAGES[name].make(context)
    context.processes.barrier()


def _check_agreement(processes: Processes, recipe: Recipe, splits: Splits, until: str) -> None:
    """Refuse processes that were started with different recipes, images or last stages."""
    if processes.size == 1:
        return
    everyone = processes.all_gather((recipe.as_dict(), images_digest(splits), until))
    for rank, (other, images, end) in enumerate(everyone):
        difference = first_difference(everyone[0][0], other, sides=("in process 0", f"in process {rank}"))
        difference = difference or ("" if images == everyone[0][1] else "the images differ")
        difference = difference or ("" if end == everyone[0][2] else "--until differs")
        if difference:
            error = (
                f"the processes do not agree ({difference}); start all with the same recipe, --set and --data"
            )
            processes.raise_on_main(RecipeError(error))


def _create_or_resume(processes: Processes, recipe: Recipe, splits: Splits, path: Path) -> Run:
    """The run of the folder; the main process checks the recipe and creates or resumes it."""
    if processes.is_main:
        keep_latency_table(create_or_resume(path, recipe, splits))
        notes = data_notes(recipe, splits)
        for text in filter(None, notes.values()):
            log.warning("%s", text)
        write_notes(path, notes)
        EpochLog(path / "log.jsonl").merge_from(path.glob("log-*.jsonl"))
    processes.barrier()
    return open_run(path)
