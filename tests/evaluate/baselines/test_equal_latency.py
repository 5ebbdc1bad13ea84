"""The baselines: of the bundle's latency, trained as the team is, recorded as they are."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from eed_edge.errors import CheckpointError
from eed_edge.evaluate.baselines import latency_match, training_cost
from eed_edge.evaluate.baselines.equal_latency import BaselineJob, team_training, train_baseline
from eed_edge.evaluate.baselines.narrow_network import NarrowNetwork
from eed_edge.evaluate.baselines.single_network import SingleNetwork, best_score
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.train import checkpointing
from eed_edge.train.context import TrainingContext
from eed_edge.train.data import splits
from eed_edge.train.networks import checkpoint
from eed_edge.train.run_folder import open_run
from tests.conftest import Flow, call


@pytest.fixture(scope="module", autouse=True)
def coarse_ladder():
    """Fewer widths to time, as each takes seconds to export."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency_match, "STEP", 0.25)
        yield


@pytest.fixture(scope="module")
def made(flow: Flow, tmp_path_factory):
    run = shutil.copytree(flow.run, tmp_path_factory.mktemp("baselines") / "run")
    for command in ("narrow", "single"):
        result = call(command, run, flow.bundle)
        assert result.exit_code == 0, result.output
    return run, json.loads((run / "report.json").read_text())


@pytest.mark.parametrize("name", ["narrow", "single"])
def test_a_baseline_leaves_weights_onnx_log_and_report(made, name):
    run, report = made
    figures, plan = report[name], json.loads((run / f"{name}.json").read_text())
    net, _ = checkpoint.load_network(run / f"{name}.safetensors")
    images = torch.rand(3, 1, 8, 8)
    logits = onnxruntime.InferenceSession(run / f"{name}.onnx").run(None, {"images": images.numpy()})[0]
    np.testing.assert_allclose(logits, net(images).detach().numpy(), atol=1e-4)
    assert figures["params"] == sum(p.numel() for p in net.parameters())
    assert figures["ratio"] == figures["mean_ms"] / figures["target_ms"]
    macs, most = figures["budget"]["macs"], figures["budget"]["epochs"]
    budget = macs["total"] if name == "narrow" else macs["pool"] + macs["joint"]
    assert macs[name] <= budget < macs[name] * (most + 1) / most
    assert not figures["budget"]["epochs_by_hand"]
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    trained = [row for row in rows if row["stage"] == name and "loss" in row and "attack" in row]
    assert len(trained) == figures["epochs"] == len(figures["history"]) <= most
    assert report["commands"][name].startswith(f"eed-edge {name}")
    assert (plan["settings"], plan["conditions"]) == ("team", figures["conditions"])
    assert "load average" in plan["conditions"]
    assert not [*run.glob(f"{name}.pruned"), *run.glob(f"{name}.search"), *run.glob(f"{name}.state")]


def test_bench_times_both_baselines_against_the_deployed_rule(made, flow: Flow):
    run, _ = made
    timed = call("bench", flow.bundle, "--run", run, "--repeats", 1)
    assert timed.exit_code == 0, timed.output
    latency = json.loads((run / "report.json").read_text())["latency"]
    for name in ("narrow", "single"):
        assert name in timed.output
        expected = latency[name]["mean_ms"] / latency["dynamic"]["mean_ms"]
        assert latency[f"{name}_over_dynamic"]["median"] == pytest.approx(expected)


def test_the_baselines_learn_as_the_team_does_from_labels_and_base(flow: Flow):
    recipe = open_run(flow.run).recipe
    recipe = dataclasses.replace(
        recipe,
        joint=dataclasses.replace(
            recipe.joint, epochs=9, eps_255=14, finish_epochs=3, attack="pgd", weight_decay=1e-3
        ),
        pool=dataclasses.replace(recipe.pool, distill=0.4, lr=0.03, batch=16),
    )
    for kind, lr, batch in (
        (NarrowNetwork(), recipe.base.lr, recipe.base.batch),
        (SingleNetwork(), 0.03, 16),
    ):
        cfg = team_training(kind, recipe, 20)
        assert (cfg.eps_255, cfg.finish_epochs, cfg.attack, cfg.weight_decay) == (14, 3, "pgd", 1e-3)
        assert (cfg.distill, cfg.lr, cfg.batch, cfg.epochs) == (0.4, lr, batch, 20)
        assert (cfg.schedule, cfg.patience) == ("wsd", 10)
        shortest = team_training(kind, recipe, 3)
        assert training_cost.with_epochs(shortest, 20) == cfg  # what the budget is counted for


def test_single_is_pruned_by_the_score_of_the_best_candidate_alone(made):
    run, _ = made
    alone = json.loads((run / "selection.json").read_text())["attacked_alone"]
    job = BaselineJob(open_run(run), None, None, TrainingContext())
    assert best_score(job) == max(alone, key=alone.get)[:3]


def test_epochs_and_latency_by_hand_are_recorded_as_such(flow: Flow, tmp_path: Path):
    run = shutil.copytree(flow.run, tmp_path / "run")
    words = ("narrow", run, "--mean-ms", 1000, "--epochs", 1)
    assert call(*words).exit_code == 0
    narrow = json.loads((run / "report.json").read_text())["narrow"]
    assert (narrow["epochs"], narrow["budget"]["epochs_by_hand"]) == (1, True)
    assert narrow["target_ms"] == pytest.approx(1000)
    assert (
        narrow["macs"] > 0.5 * count_cost(open_run(run).base(), torch.zeros(1, 1, 8, 8))[1]
    )  # among the widest
    refused = call("narrow", run, "--mean-ms", 1000, "--epochs", 2)
    assert refused.exit_code == 1
    assert "expected --epochs 1, got 2; delete it" in refused.output


def test_narrow_reads_train_and_tune_only_and_goes_on_where_it_was_killed(
    made, flow: Flow, tmp_path: Path, monkeypatch
):
    uninterrupted, _ = made
    run = shutil.copytree(flow.run, tmp_path / "run")
    shutil.copy(uninterrupted / "narrow.json", run)  # the same widths, whatever the clock says now
    monkeypatch.setattr(checkpointing, "AFTER_EPOCH_S", -1)
    real = splits.splits_for_recipe

    def without_test(recipe, root):
        return dataclasses.replace(real(recipe, root), read_test=lambda: pytest.fail("test was read"))

    monkeypatch.setattr(splits, "splits_for_recipe", without_test)
    epochs = []

    def callback(row):
        if "batch" not in row:
            epochs.append(row["epoch"])

    def kill(row):
        callback(row)
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_baseline(
            NarrowNetwork(), open_run(run), flow.bundle, None, context=TrainingContext(callbacks=(kill,))
        )
    train_baseline(
        NarrowNetwork(), open_run(run), flow.bundle, None, context=TrainingContext(callbacks=(callback,))
    )
    assert epochs == sorted(set(epochs))
    ours, theirs = (
        checkpoint.load_checkpoint(folder / "narrow.safetensors")[0] for folder in (run, uninterrupted)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_bundle_of_another_run_and_a_plan_for_another_team_are_refused(made, flow: Flow, tmp_path: Path):
    run = shutil.copytree(made[0], tmp_path / "run")
    plan = json.loads((run / "narrow.json").read_text())
    (run / "narrow.json").write_text(json.dumps({**plan, "team": "other"}))
    with pytest.raises(CheckpointError, match=r"made for another team; delete it and narrow\.\*"):
        train_baseline(NarrowNetwork(), open_run(run), flow.bundle, None, context=TrainingContext())
    (run / "narrow.json").write_text(json.dumps(plan))
    with pytest.raises(
        CheckpointError, match=r"expected the time of a bundle in float32 .* got that of --mean"
    ):
        train_baseline(NarrowNetwork(), open_run(run), flow.bundle, None, mean_ms=2.0)
    (run / "narrow.json").write_text(json.dumps({**plan, "matched_to": "--mean-ms 1.0"}))
    with pytest.raises(
        CheckpointError, match=r"expected the time of --mean-ms 1.0, got that of --mean-ms 2.0"
    ):
        train_baseline(NarrowNetwork(), open_run(run), None, None, mean_ms=2.0)
    (run / "narrow.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is damaged"):
        train_baseline(NarrowNetwork(), open_run(run), flow.bundle, None, context=TrainingContext())
    member = run / "joint" / "member-0.safetensors"
    shutil.copy(run / "joint" / "member-1.safetensors", member)
    with pytest.raises(CheckpointError, match="was not exported from"):
        train_baseline(NarrowNetwork(), open_run(run), flow.bundle, None, context=TrainingContext())
