"""Compare a single network and teams of several sizes, at one mean time, on tune images."""

import dataclasses
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from eed_edge import report
from eed_edge.atomic_files import write_json
from eed_edge.errors import CheckpointError, RecipeError
from eed_edge.evaluate.metrics.shape_accuracy import ShapeAccuracy, prefix_times, shape_accuracy
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.recipe import Recipe
from eed_edge.runtime.measure.conditions import busy_warning, conditions_between, snapshot
from eed_edge.select.selection import MOST_CONSIDERED
from eed_edge.train.data.batches import as_float, on_device
from eed_edge.train.data.splits import ImagesSource, splits_for_recipe
from eed_edge.train.data.unused_folder import check_unused
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.run_folder import Run
from eed_edge.train.system.devices import choose_device
from eed_edge.train.system.epoch_log import TrainingCallback
from eed_edge.workflow.recipe_choice import Overrides, RecipeLike, choose_recipe
from eed_edge.workflow.train_team import train_team

log = logging.getLogger(__name__)
MEMBERS_USED = 1.5
"""Members that answer an image on average, by which a team's are sized; its threshold then meets the time."""
SIZES = (1, 2, 3, 4)
SHAPES_FILE = "shapes.json"


@dataclass(frozen=True)
class Shapes:
    """The teams compared, and the run folder of the best.

    rows: one for each size, in the order asked for.
    best: run folder of the team that classifies the most tune images correctly, attacked if the recipe is.
    """

    rows: tuple[ShapeAccuracy, ...]
    best: Path


def compare_shapes(
    recipe: RecipeLike = None,
    data: ImagesSource = None,
    *,
    out: str | os.PathLike[str],
    sizes: Sequence[int] = SIZES,
    share: float | None = None,
    mean_ms: float | None = None,
    overrides: Overrides = (),
    device: str = "auto",
    max_minutes: float | None = None,
    callbacks: Sequence[TrainingCallback] = (),
    on_stage_end: Callable[[str, Run], None] = lambda stage, run: None,
) -> Shapes:
    """Train a team of every size on one base and compare them on tune at the mean time of the single network.

    The single network has ``share`` of the base's parameters and MACs, a member of a larger team two thirds
    of that; its gate has the largest threshold that keeps the team's mean time at or below the single
    network's. Test images are not read. Called again, a comparison that was stopped goes on.

    Args:
        recipe, data, overrides, device, max_minutes, callbacks, on_stage_end: as in ``train_team``.
        out: folder of the comparison; the run of each size is in it, and ``shapes.json``.
        sizes: numbers of members, 1 among them.
        share: of the base's parameters and MACs for the single network; None takes the recipe's
            ``prune.member_share`` times 1.5.
        mean_ms: instead, milliseconds by the recipe's ``prune.latency_table``.

    Raises:
        CheckpointError: ``out`` is a folder of something else.
        RecipeError: sizes or budget out of range, or ``mean_ms`` without a latency table.
        EedError: whatever ``train_team`` raises.
    """
    resolved = choose_recipe(recipe, data, overrides=overrides)
    if not isinstance(sizes, Sequence) or not all(isinstance(size, int) for size in sizes):
        raise RecipeError(f"sizes: expected whole numbers such as (1, 2), got {sizes!r}")
    _check(resolved, sizes, share, mean_ms)
    folder = Path(out)
    check_unused(folder)
    if (folder / "run.json").exists():
        raise CheckpointError(
            f"{folder}: expected a new folder or a comparison, got a run; choose another folder"
        )
    train = partial(
        _train, data=data, end=None if max_minutes is None else time.monotonic() + 60 * max_minutes,
        device=device, callbacks=callbacks, on_stage_end=on_stage_end,
    )  # fmt: skip
    base = train(resolved, run=folder / "base", until="base")
    runs: dict[int, Run] = {}
    for size in sizes:
        path, alike = folder / run_name(size), [run for other, run in runs.items() if min(other, size) > 1]
        _reuse(alike[0] if alike else base, path)
        runs[size] = train(recipe_of_size(resolved, size, share=share, mean_ms=mean_ms), run=path)
    return _judge(runs, resolved, data, folder)


def recipe_of_size(
    recipe: Recipe, size: int, *, share: float | None = None, mean_ms: float | None = None
) -> Recipe:
    """The recipe for a team of ``size`` members, sized so that its mean time can be the common one."""
    used = 1.0 if size == 1 else MEMBERS_USED
    if mean_ms is None:
        member = _single_share(recipe, share) / used
        prune = dataclasses.replace(recipe.prune, member_share=member)
    else:
        prune = dataclasses.replace(
            recipe.prune, member_share=1.0, latency_ms=mean_ms / used, latency_share=0.0
        )
    team = min(0.99, max(0.001, prune.member_share * size)) if mean_ms is None else 0.99
    return dataclasses.replace(
        recipe,
        prune=dataclasses.replace(prune, sparsity=1 - team),
        select=dataclasses.replace(recipe.select, members=size),
    )


def run_name(size: int) -> str:
    """Folder of the run of this size."""
    return "1-member" if size == 1 else f"{size}-members"


def _check(recipe: Recipe, sizes: Sequence[int], share: float | None, mean_ms: float | None) -> None:
    candidates = min(len(recipe.scores.names) * recipe.pool.subsets, MOST_CONSIDERED)
    if 1 not in sizes or len(set(sizes)) != len(sizes) or not 1 <= min(sizes) <= max(sizes) <= candidates:
        raise RecipeError(
            f"sizes: expected 1 and others up to the {candidates} candidates of the pool, got"
            f" {', '.join(map(str, sizes))}; the single network sets the time"
        )
    if mean_ms is not None and (share is not None or not recipe.prune.latency_table):
        raise RecipeError(
            "mean_ms: expected a recipe with prune.latency_table and no share; eed-edge profile makes a table"
        )
    largest = max(sizes) * _single_share(recipe, share) / MEMBERS_USED
    if mean_ms is None and largest > 0.99:
        raise RecipeError(
            f"share: expected teams smaller than the base, got {max(sizes)} members of {largest:.2f} of it"
            " together; give a smaller share"
        )


def _single_share(recipe: Recipe, share: float | None) -> float:
    """The single network's share of the base: the given one, or 1.5 times the recipe's member."""
    return recipe.prune.member_share * MEMBERS_USED if share is None else share


def _train(recipe: Recipe, *, end: float | None, **settings: Any) -> Run:
    """Train until ``end``, a time of the monotonic clock."""
    minutes = None if end is None else max(0.0, end - time.monotonic()) / 60
    return train_team(recipe, max_minutes=minutes, **settings)


def _reuse(run: Run, path: Path) -> None:
    """Begin the run in ``path`` with the base, and the candidates if there are any, of another one."""
    if path.exists():
        return
    unfinished = path.with_name(f"{path.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "pool").mkdir(parents=True)
    for file in (run.path / "base.safetensors", *run.path.glob("pool/*.safetensors")):
        shutil.copy(file, unfinished / file.relative_to(run.path))
    rows = (run.path / "log.jsonl").read_text().splitlines(keepends=True)
    reused = [row for row in rows if json.loads(row)["stage"] in ("base", "pool")]
    (unfinished / "log.jsonl").write_text("".join(reused))
    unfinished.rename(path)


def _judge(runs: dict[int, Run], recipe: Recipe, data: ImagesSource, folder: Path) -> Shapes:
    tune = on_device(splits_for_recipe(recipe, data).tune, choose_device("cpu"))
    teams = [Ensemble([net for net, _ in run.members()]).eval() for run in runs.values()]
    before = snapshot()
    times = prefix_times(teams, tune)
    conditions = conditions_between(before, snapshot())
    if warning := busy_warning(conditions):
        log.warning("%s", warning)
    goal = times[list(runs).index(1)][0]
    image = as_float(tune.images[:1])
    rows = []
    for team, ms in zip(teams, times, strict=True):
        costs = [count_cost(net, image) for net in team.members]
        size = sum(params for params, _ in costs), sum(macs for _, macs in costs)
        rows.append(shape_accuracy(team, tune, recipe, ms=ms, mean_ms=goal, size=size))
    best = max(rows, key=lambda row: (row.judged, -row.members))
    made = Shapes(tuple(rows), folder / run_name(best.members))
    write_json(
        folder / SHAPES_FILE,
        {
            "images": min(len(tune), recipe.joint.judge_images),
            "rows": [dataclasses.asdict(row) for row in rows],
            "best": best.members,
            "conditions": conditions,
            "machine": report.machine(),
            "commit": report.commit(),
        },
    )
    return made
