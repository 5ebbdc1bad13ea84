"""What a run folder or a machine can have wrong: one line, exit code 1, earlier checkpoints as they were."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from eed_edge import recipe
from eed_edge.pipeline import joint_stage
from eed_edge.prune import pool
from eed_edge.train import checkpointing
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images
from eed_edge.train.networks import build, checkpoint
from eed_edge.train.run_folder import open_run
from tests.conftest import TINY, Flow, call


def files(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def refused(run: Path, message: str, *words: str) -> None:
    """The same call twice says the same in one line, and leaves every file as it was."""
    before = files(run)
    for _ in range(2):
        result = call("train", TINY, "--run", run, *words)
        errors = [line for line in result.output.splitlines() if line.startswith("error:")]
        assert (result.exit_code, len(errors)) == (1, 1), result.output
        assert message in errors[0]
    assert files(run) == before


@pytest.fixture
def run(flow: Flow, tmp_path: Path) -> Path:
    """A run whose joint stage is still to come."""
    copy = shutil.copytree(flow.run, tmp_path / "run")
    shutil.rmtree(copy / "joint")
    (copy / "joint.json").unlink()
    return copy


def test_cuda_without_cuda(run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused(run, "device cuda: expected a CUDA device, torch finds none", "--device", "cuda")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_too_little_memory_names_the_setting_to_lower(run, monkeypatch, error):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(joint_stage.joint, "train_joint", full)
    refused(run, "out of memory; in stage joint: lower joint.batch (now 32)")


def test_too_little_memory_on_a_cpu_is_told_and_other_failures_are_not_taken_for_it(run, monkeypatch):
    for text, message in (
        ("DefaultCPUAllocator: can't allocate memory", "lower joint.batch"),
        ("shapes", "shapes"),
    ):
        monkeypatch.setattr(
            joint_stage.joint, "train_joint", lambda *_, text=text, **__: torch._assert(False, text)
        )
        monkeypatch.setattr(torch, "_assert", lambda _, text: (_ for _ in ()).throw(RuntimeError(text)))
        refused(run, message)


def test_a_run_of_another_recipe(run):
    refused(run, "another recipe (pool.epochs is 1 there and 2 here)", "--set", "pool.epochs=2")


def test_a_run_of_another_version(run):
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "format": 2}))
    refused(run, "expected a run of format 1, got 2")


@pytest.mark.parametrize("name", ["base.safetensors", "pool/erm-1.safetensors"])
def test_a_checkpoint_cut_in_half(run, name):
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2])
    for later in ("selection.json", "pool/ase-0.safetensors"):
        (run / later).unlink()
    if name.startswith("pool"):
        assert call("train", TINY, "--run", run, "--until", "pool").exit_code == 0
    refused(run, f"{name}: expected a whole safetensors file")


def test_a_checkpoint_of_a_training_under_way_cut_in_half(flow: Flow, tmp_path: Path):
    run = tmp_path / "run"
    assert call("train", TINY, "--run", run, "--max-minutes", 0).exit_code == 0
    content = (run / "base.state").read_bytes()
    (run / "base.state").write_bytes(content[: len(content) // 2])
    refused(run, "base.state: expected a whole safetensors file")


def test_a_log_that_is_no_log(run):
    (run / "log.jsonl").write_text('{"stage": "base"')
    refused(run, "log.jsonl: expected a JSON object a line")


def test_a_run_begun_before_a_field_of_the_recipe_existed_goes_on(run):
    record = json.loads((run / "run.json").read_text())
    for stage in ("base", "pool", "joint"):
        for field in ("finish_epochs", "drops", "factors"):
            del record["recipe"][stage][field]
    (run / "run.json").write_text(json.dumps(record))
    before = (run / "run.json").read_bytes()
    result = call("train", TINY, "--run", run, "--until", "select")
    assert result.exit_code == 0, result.output
    assert (run / "run.json").read_bytes() == before  # an older program can still read it
    assert open_run(run).recipe == recipe.load_recipe(str(TINY))


def test_layers_without_batch_norm_are_told_once_for_the_whole_pool(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(checkpointing, "AFTER_EPOCH_S", 1e9)
    net = build.build_network("resnet18", classes=2, channels=1, width=8)
    net.body.stem[1] = torch.nn.Identity()
    data = Images(torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8), torch.arange(16) % 2)
    cfg = {"epochs": 1, "batch": 8, "judge_steps": 1, "subsets": 2}
    recipe_of_net = recipe.from_dict(
        {"pool": cfg, "scores": {"names": ["bnsf", "erm"], "search": False, "images": 4},
         "prune": {"member_share": 0.9, "round_to": 4}}
    )  # fmt: skip
    with caplog.at_level(logging.INFO, logger="eed_edge"):
        made = pool.build_pool(
            net, data, data, recipe=recipe_of_net, folder=tmp_path, context=TrainingContext()
        )
    lines = [record.getMessage() for record in caplog.records if "no batch norm" in record.getMessage()]
    assert lines == ["bnsf: no batch norm behind body.stem.0, weights count as they are there"]
    assert [checkpoint.load_checkpoint(path)[1]["pruning"]["importance"] for path in made] == ["bnsf"] * 2 + [
        "erm"
    ] * 2
