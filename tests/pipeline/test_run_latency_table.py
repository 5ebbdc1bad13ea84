"""A run keeps its own latency table, and its candidates are pruned to the time by it."""

import dataclasses
from pathlib import Path

import pytest
import torch

from eed_edge.errors import InputError
from eed_edge.latency.latency_table import write_latency_table
from eed_edge.manifest import InputSpec, Preprocess
from eed_edge.pipeline.run_latency_table import TABLE_FILE, keep_latency_table, recipe_with_run_table
from eed_edge.prune import pool
from eed_edge.prune.candidates import Candidate
from eed_edge.prune.groups import analyse
from eed_edge.prune.member_time import architecture_digest, time_budget
from eed_edge.recipe import from_dict
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images
from eed_edge.train.networks import build
from eed_edge.train.run_folder import Run
from tests.latency.test_latency_table import TABLE
from tests.prune.test_member_time import mega_macs


def run_with(folder: Path, table: Path) -> Run:
    recipe = from_dict({"prune": {"latency_table": str(table), "latency_share": 0.4, "member_share": 1.0}})
    spec = InputSpec(name="images", shape=("N", 1, 8, 8), channels="L", preprocess=Preprocess())
    folder.mkdir()
    return Run(folder, recipe, ("a", "b"), spec, "digest")


def test_the_table_is_copied_until_the_pool_begins_and_the_run_can_move(tmp_path):
    table, run = tmp_path / "given.json", run_with(tmp_path / "run", tmp_path / "given.json")
    with pytest.raises(InputError, match=r"given.json: expected a latency table, got: No such file"):
        keep_latency_table(run)
    write_latency_table(table, TABLE)
    keep_latency_table(run)
    copy = run.path / TABLE_FILE
    first = copy.read_bytes()
    write_latency_table(table, dataclasses.replace(TABLE, dense_ms=7.0))
    keep_latency_table(run)
    second = copy.read_bytes()
    assert second != first
    (run.path / "pool").mkdir()
    write_latency_table(table, TABLE)
    keep_latency_table(run)
    table.unlink()
    keep_latency_table(run)
    assert copy.read_bytes() == second
    assert recipe_with_run_table(run).prune.latency_table == str(copy)


def test_a_candidate_is_pruned_to_its_time_and_its_record_says_what_it_should_take(tmp_path):
    torch.manual_seed(0)
    base = build.build_network("resnet18", classes=4, channels=1, width=16).eval()
    structure = analyse(base, torch.rand(1, 1, 8, 8))
    path, digest = tmp_path / "table.json", architecture_digest(structure, (1, 8, 8))
    write_latency_table(path, dataclasses.replace(mega_macs(structure), architecture=digest))
    prune = {"latency_table": str(path), "latency_share": 0.4, "member_share": 1.0, "sparsity": 0.01}
    recipe = from_dict(
        {"prune": prune, "scores": {"search": False, "names": ["erm"]}, "base": {"attack": "none"}}
    )
    images = Images(torch.randint(0, 256, (32, 1, 8, 8), dtype=torch.uint8), torch.arange(32) % 4)
    net, record = pool._prune(base, images, Candidate("erm", 0, 0), recipe=recipe, context=TrainingContext())
    time = time_budget(structure, (1, 8, 8), recipe.prune)
    pruning = record["pruning"]
    assert 0.8 * time.most_ms < pruning["predicted_ms"] <= time.most_ms
    assert pruning["predicted_ms"] == pytest.approx(pruning["macs"] / 1e6, rel=1e-3)  # what this table says
    assert (pruning["predicted_for"], pruning["predicted_on"]) == ("float32", "a chip")
    assert net(torch.rand(2, 1, 8, 8)).shape == (2, 4)
