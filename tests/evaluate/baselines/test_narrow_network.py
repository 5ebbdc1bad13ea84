"""The narrow baseline: as wide as the latency allows, trained for what the run has cost, told as it is."""

import dataclasses
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from eed_edge.errors import CheckpointError, InputError
from eed_edge.evaluate.baselines import latency_match, narrow_network, training_cost
from eed_edge.prune.groups import analyse, count_cost
from eed_edge.recipe import Base
from eed_edge.train import checkpointing
from eed_edge.train.checkpointing import Checkpointing
from eed_edge.train.context import TrainingContext
from eed_edge.train.data import splits
from eed_edge.train.data.batches import Images
from eed_edge.train.epoch import train_epoch
from eed_edge.train.networks import build, checkpoint
from eed_edge.train.run_folder import open_run
from eed_edge.train.state import initial_state
from eed_edge.train.system.time_limit import TimeLimit
from tests.conftest import Flow, call

IMAGE = torch.rand(1, 3, 8, 8)


@pytest.fixture(scope="module")
def dense():
    return build.build_network("resnet18", classes=4, channels=3, width=16).eval()


@pytest.fixture(scope="module")
def choices(dense):
    """Every narrower copy: its widths and its multiply-accumulates."""
    found = latency_match.width_ladder(analyse(dense, IMAGE)[0], round_to=8)
    return [
        (widths, count_cost(latency_match.reinitialised(dense, widths, IMAGE, seed=0), IMAGE)[1])
        for widths in found
    ]


@pytest.fixture(scope="module")
def made(flow: Flow, tmp_path_factory):
    run = shutil.copytree(flow.run, tmp_path_factory.mktemp("narrow") / "run")
    result = call("narrow", run, flow.bundle)
    assert result.exit_code == 0, result.output
    return run, json.loads((run / "report.json").read_text())


def test_narrower_copies_grow_from_eight_channels_a_layer_to_the_whole_network(dense, choices):
    sizes = [macs for _, macs in choices]
    assert sizes == sorted(set(sizes))
    assert max(choices[0][0].values()) <= 16 < max(choices[-1][0].values())
    assert sizes[-1] == count_cost(dense, IMAGE)[1]
    assert all(width % 8 == 0 for widths, _ in choices for width in widths.values())
    assert max(b / a for a, b in itertools.pairwise(sizes)) < 1.4


def test_fresh_weights_are_those_of_a_new_network_of_that_width(dense):
    structure, _ = analyse(dense, IMAGE)
    half = {group.root: group.channels // 2 for group in structure.groups}
    net = latency_match.reinitialised(dense, half, IMAGE, seed=3)
    plain = build.build_network("resnet18", classes=4, channels=3, width=8).state_dict()
    for name, tensor in net.state_dict().items():
        assert tensor.shape == plain[name].shape
        if tensor.dim() == 4 and tensor.numel() > 1000:
            assert tensor.std().item() == pytest.approx(plain[name].std().item(), rel=0.1)


@pytest.mark.parametrize("share", [0.03, 0.1, 0.3, 0.55, 0.9, 2.0])
def test_the_largest_network_within_the_latency_is_found(dense, choices, monkeypatch, share):
    """Time stands still here: a network takes as many milliseconds as it has multiply-accumulates."""
    monkeypatch.setattr(latency_match, "to_onnx", lambda net, image: count_cost(net, image)[1])
    monkeypatch.setattr(latency_match, "_call", lambda macs, images: macs)
    target = share * count_cost(dense, IMAGE)[1]

    def timed(calls, *, items, rounds):
        return {
            name: np.full((rounds, items), call if name.isdigit() else target) for name, call in calls.items()
        }

    monkeypatch.setattr(latency_match, "in_blocks", timed)
    found = latency_match.widest_within(
        dense, IMAGE.numpy(), dynamic=lambda images: None, mean_ms=None, round_to=8, seed=0
    )
    fitting = [choice for choice in choices if choice[1] <= target] or choices[:1]
    assert (found.widths, found.mean_ms, found.target_ms) == (*fitting[-1], target)


def test_without_a_bundle_and_a_latency_there_is_nothing_to_equal(dense, tmp_path):
    with pytest.raises(InputError, match="give BUNDLE or --mean-ms"):
        latency_match.widest_within(dense, IMAGE.numpy(), dynamic=None, mean_ms=None, round_to=8, seed=0)
    assert call("narrow", tmp_path).exit_code == 2


class Flops(TorchDispatchMode):
    """Adds up what torch says that every convolution and matrix product costs, backward ones included."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if cost := flop_registry.get(func.overloadpacket):
            self.total += cost(*args, **(kwargs or {}), out_val=out)
        return out


@pytest.mark.parametrize("attack", ["n-fgsm", "pgd"])
def test_counted_passes_are_the_work_that_torch_counts(attack):
    cfg = Base(attack=attack, steps=3, batch=8, epochs=1, averaging=0)
    net = build.build_network("vgg16", classes=4, channels=3, width=4)
    images = Images(torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8), torch.arange(16) % 4)
    state = initial_state(net, cfg)

    def loss(network, clean, attacked, labels):
        return F.cross_entropy(network(attacked), labels)

    with Flops() as flops:
        train_epoch(
            net, images, state, cfg=cfg, loss=loss, context=TrainingContext(),
            checkpoints=Checkpointing(lambda: None, time_limit=TimeLimit()),
        )  # fmt: skip
    cost = count_cost(net, torch.rand(1, 3, 32, 32))[1]
    counted = training_cost.training_macs(cfg, cost=cost, images=len(images))
    assert flops.total / 2 == pytest.approx(counted, rel=0.05)


def test_the_budget_is_what_every_stage_of_the_run_has_cost(flow: Flow):
    run = open_run(flow.run)
    found = training_cost.run_cost(run)
    base = count_cost(run.base(), torch.zeros(1, 1, 8, 8))[1]
    # 156 training images: four batches of 32; each of two subsets has 97, a quarter shared: three batches
    assert found["base"] == 2 * 128 * 5 * base
    assert found["scores"] == 4 * 96 * 4 * base
    macs = [
        checkpoint.load_checkpoint(path)[1]["pruning"]["macs"]
        for path in (flow.run / "pool").glob("*-?.safetensors")
    ]
    assert len(macs) == 4
    assert found["pool"] == sum(96 * (5 * own + base) for own in macs)
    team = sum(record["pruning"]["macs"] for _, record in run.members())
    assert found["joint"] == 2 * 128 * 5 * team
    assert found["total"] == sum(found[stage] for stage in ("base", "scores", "pool", "joint"))


def test_a_budget_buys_whole_epochs_and_one_at_least():
    cfg = Base(batch=10, lr=0.3)
    for budget_macs, epochs in ((0, 1), (999, 1), (10_000, 2), (12_499, 2), (15_000, 3)):
        bought = training_cost.epochs_for_budget(
            budget_macs, cfg, cost=10, images=109
        )  # 100 images × 5 passes × 10
        assert (bought.epochs, bought.lr) == (epochs, 0.3)
    finished = Base(batch=10, epochs=10, finish_epochs=2, steps=10)  # a fifth of the epochs costs 23 passes
    assert training_cost.training_macs(finished, cost=1, images=10) == 10 * (8 * 5 + 2 * 23)
    for epochs in range(1, 30):
        whole = training_cost.training_macs(training_cost.with_epochs(finished, epochs), cost=10, images=100)
        assert training_cost.epochs_for_budget(whole, finished, cost=10, images=100).epochs == epochs
        assert training_cost.epochs_for_budget(whole - 1, finished, cost=10, images=100).epochs == max(
            1, epochs - 1
        )
    assert (
        training_cost.epochs_for_budget(
            46_000, Base(batch=10, attack="pgd", steps=10), cost=10, images=100
        ).epochs
        == 2
    )


def test_narrow_leaves_weights_onnx_log_and_report(made, flow: Flow):
    run, report = made
    found = report["narrow"]
    net, _ = checkpoint.load_network(run / "narrow.safetensors")
    images = torch.rand(3, 1, 8, 8)
    logits = onnxruntime.InferenceSession(run / "narrow.onnx").run(None, {"images": images.numpy()})[0]
    np.testing.assert_allclose(logits, net(images).detach().numpy(), atol=1e-4)
    assert found["params"] == sum(p.numel() for p in net.parameters())
    assert found["ratio"] == found["mean_ms"] / found["target_ms"]
    macs = found["budget"]["macs"]
    one_more = macs["narrow"] * (found["epochs"] + 1) / found["epochs"]
    assert macs["narrow"] <= macs["total"] < one_more
    assert not found["budget"]["epochs_by_hand"]
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert sum(row["stage"] == "narrow" for row in rows) == found["epochs"] == len(found["history"])
    assert report["commands"]["narrow"].startswith("eed-edge narrow")
    timed = call("bench", flow.bundle, "--run", run, "--repeats", 1)
    assert "narrow" in timed.output


def test_epochs_and_latency_by_hand_are_recorded_as_such(flow: Flow, tmp_path: Path):
    run = shutil.copytree(flow.run, tmp_path / "run")
    words = ("narrow", run, "--mean-ms", 1000, "--epochs", 1)
    assert call(*words).exit_code == 0
    found = json.loads((run / "report.json").read_text())["narrow"]
    assert (found["epochs"], found["budget"]["epochs_by_hand"], found["target_ms"]) == (1, True, 1000)
    assert found["macs"] == count_cost(open_run(run).base(), torch.zeros(1, 1, 8, 8))[1]
    refused = call("narrow", run, "--mean-ms", 1000, "--epochs", 2)
    assert refused.exit_code == 1
    assert "expected --epochs 1, got 2; delete it" in refused.output


def test_narrow_reads_train_and_tune_only_and_goes_on_where_it_was_killed(
    made, flow: Flow, tmp_path: Path, monkeypatch
):
    whole, _ = made
    run = shutil.copytree(flow.run, tmp_path / "run")
    shutil.copy(whole / "narrow.json", run)  # the same widths, whatever the clock says now
    monkeypatch.setattr(checkpointing, "AFTER_EPOCH_S", -1)
    real = splits.splits_for_recipe

    def without_test(recipe, root):
        return dataclasses.replace(real(recipe, root), read_test=lambda: pytest.fail("test was read"))

    monkeypatch.setattr(splits, "splits_for_recipe", without_test)
    epochs = []

    def watch(row):
        if "batch" not in row:
            epochs.append(row["epoch"])

    def kill(row):
        watch(row)
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        narrow_network.train_narrow(
            open_run(run), flow.bundle, None, context=TrainingContext(callbacks=(kill,))
        )
    narrow_network.train_narrow(open_run(run), flow.bundle, None, context=TrainingContext(callbacks=(watch,)))
    assert epochs == sorted(set(epochs))
    ours, theirs = (checkpoint.load_checkpoint(folder / "narrow.safetensors")[0] for folder in (run, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_bundle_of_another_run_and_a_plan_for_another_team_are_refused(made, flow: Flow, tmp_path: Path):
    run = shutil.copytree(made[0], tmp_path / "run")
    plan = json.loads((run / "narrow.json").read_text())
    (run / "narrow.json").write_text(json.dumps({**plan, "team": "other"}))
    with pytest.raises(CheckpointError, match=r"made for another team; delete it and narrow\.\*"):
        narrow_network.train_narrow(open_run(run), flow.bundle, None, context=TrainingContext())
    (run / "narrow.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is damaged"):
        narrow_network.train_narrow(open_run(run), flow.bundle, None, context=TrainingContext())
    member = run / "joint" / "member-0.safetensors"
    shutil.copy(run / "joint" / "member-1.safetensors", member)
    with pytest.raises(CheckpointError, match="was not exported from"):
        narrow_network.train_narrow(open_run(run), flow.bundle, None, context=TrainingContext())


def test_without_a_record_of_the_joint_epochs_the_budget_is_unknown(flow: Flow, tmp_path: Path):
    run = shutil.copytree(flow.run, tmp_path / "run")
    (run / "log.jsonl").write_text("")
    with pytest.raises(CheckpointError, match=r"no record of its epochs.*give --epochs"):
        training_cost.run_cost(open_run(run))
    (run / "log.jsonl").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        training_cost.run_cost(open_run(run))
