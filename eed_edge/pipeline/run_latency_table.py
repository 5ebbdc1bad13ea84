"""A run's own copy of its latency table, so that the run can move and the table cannot change under it."""

import dataclasses
from pathlib import Path

from eed_edge.latency.latency_table import read_latency_table, write_latency_table
from eed_edge.recipe import Recipe
from eed_edge.train.run_folder import Run

TABLE_FILE = "latency-table.json"


def keep_latency_table(run: Run) -> None:
    """Copy the recipe's table into the run folder, unless the pool has been begun with the copy there.

    Raises:
        InputError: the table cannot be read.
    """
    source, copy = run.recipe.prune.latency_table, run.path / TABLE_FILE
    begun = copy.exists() and ((run.path / "pool").exists() or not Path(source).exists())
    if source and not begun:
        write_latency_table(copy, read_latency_table(Path(source)))


def recipe_with_run_table(run: Run) -> Recipe:
    """The run's recipe, with the path of the run's own copy where it names a table."""
    recipe, copy = run.recipe, run.path / TABLE_FILE
    if not recipe.prune.latency_table or not copy.exists():
        return recipe
    return dataclasses.replace(recipe, prune=dataclasses.replace(recipe.prune, latency_table=str(copy)))
