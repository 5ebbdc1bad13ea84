"""Pool stage: prune and fine-tune every missing candidate."""

import dataclasses

from eed_edge.pipeline.run_latency_table import recipe_with_run_table
from eed_edge.pipeline.stage_context import StageContext
from eed_edge.prune.pool import build_pool


def make_pool(context: StageContext) -> None:
    """Make every candidate that the run folder misses; each process logs its candidates."""
    run, log, processes = context.run, context.log, context.processes
    callbacks = context.training.callbacks if processes.is_main else ()
    base = run.base().to(context.device)
    build_pool(
        base,
        context.with_soft_labels(base, run.recipe.pool),
        context.tune,
        recipe=recipe_with_run_table(run),
        folder=run.path / "pool",
        context=dataclasses.replace(context.training, callbacks=(log.record, *callbacks), stage="pool"),
    )
    if processes.is_main:
        log.merge_from(run.path.glob("log-*.jsonl"))
