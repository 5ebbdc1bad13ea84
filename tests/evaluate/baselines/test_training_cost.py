"""The budget of a baseline is what the run has cost, counted as torch counts."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from eed_edge.errors import CheckpointError
from eed_edge.evaluate.baselines import training_cost
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.prune.distilled_loss import distilled_loss
from eed_edge.recipe import Base, Pool
from eed_edge.train.checkpointing import Checkpointing
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images
from eed_edge.train.epoch import train_epoch
from eed_edge.train.networks import build, checkpoint
from eed_edge.train.run_folder import open_run
from eed_edge.train.state import initial_state
from eed_edge.train.system.time_limit import TimeLimit
from tests.conftest import Flow


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

    def loss(network, clean, attacked, labels, soft):
        return F.cross_entropy(network(attacked), labels)

    with Flops() as flops:
        train_epoch(
            net, images, state, cfg=cfg, loss=loss, context=TrainingContext(),
            checkpoints=Checkpointing(lambda: None, time_limit=TimeLimit()),
        )  # fmt: skip
    cost = count_cost(net, torch.rand(1, 3, 32, 32))[1]
    counted = training_cost.training_macs(cfg, cost=cost, images=len(images))
    assert flops.total / 2 == pytest.approx(counted, rel=0.05)


def test_soft_labels_cost_a_pass_of_the_teacher_on_every_image():
    cfg = Pool(attack="n-fgsm", batch=8, epochs=1, averaging=0, distill=0.5)
    net, teacher = (build.build_network("vgg16", classes=4, channels=3, width=width) for width in (4, 16))
    images = Images(torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8), torch.arange(16) % 4)
    with Flops() as flops:
        train_epoch(
            net, images, initial_state(net, cfg), cfg=cfg, loss=distilled_loss(teacher.eval(), cfg),
            context=TrainingContext(), checkpoints=Checkpointing(lambda: None, time_limit=TimeLimit()),
        )  # fmt: skip
    small, large = (count_cost(each, torch.rand(1, 3, 32, 32))[1] for each in (net, teacher))
    counted = training_cost.training_macs(cfg, cost=small, images=len(images), teacher=large)
    assert flops.total / 2 == pytest.approx(counted, rel=0.05)


def test_a_pruned_baseline_spends_what_pool_and_joint_stage_have_cost():
    macs = {"base": 1.0, "scores": 10.0, "pool": 100.0, "joint": 1000.0, "total": 1111.0}
    assert training_cost.baseline_budget(macs, pruned=False) == 1111
    assert training_cost.baseline_budget(macs, pruned=True) == 1100


def test_the_budget_is_what_every_stage_of_the_run_has_cost(flow: Flow):
    run = open_run(flow.run)
    costs = training_cost.run_cost(run)
    base = count_cost(run.base(), torch.zeros(1, 1, 8, 8))[1]
    # 156 training images: four batches of 32; each of two subsets has 97, a quarter shared: three batches
    assert costs["base"] == 2 * 128 * 5 * base
    assert costs["scores"] == 4 * 96 * 4 * base
    macs = [
        checkpoint.load_checkpoint(path)[1]["pruning"]["macs"]
        for path in (flow.run / "pool").glob("*-?.safetensors")
    ]
    assert len(macs) == 4
    assert costs["pool"] == sum(96 * (5 * member + base) for member in macs)
    team = sum(record["pruning"]["macs"] for _, record in run.members())
    assert costs["joint"] == 2 * 128 * 5 * team
    assert costs["total"] == sum(costs[stage] for stage in ("base", "scores", "pool", "joint"))
    once = dataclasses.replace(run.recipe.pool, soft_labels="once")
    changed = dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, pool=once))
    pool = training_cost.run_cost(changed)["pool"]
    assert pool == sum(96 * 5 * member for member in macs) + 2 * 128 * base  # each image and its mirror
    joint = dataclasses.replace(run.recipe.joint, distill=0.5)
    for teacher, answer in (("base", base), ("team", team)):
        taught = dataclasses.replace(run.recipe, joint=dataclasses.replace(joint, teacher=teacher))
        costs = training_cost.run_cost(dataclasses.replace(run, recipe=taught))
        assert costs["joint"] == 2 * 128 * (5 * team + answer)


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
        budget = training_cost.training_macs(training_cost.with_epochs(finished, epochs), cost=10, images=100)
        assert training_cost.epochs_for_budget(budget, finished, cost=10, images=100).epochs == epochs
        assert training_cost.epochs_for_budget(budget - 1, finished, cost=10, images=100).epochs == max(
            1, epochs - 1
        )
    assert (
        training_cost.epochs_for_budget(
            46_000, Base(batch=10, attack="pgd", steps=10), cost=10, images=100
        ).epochs
        == 2
    )


def test_without_a_record_of_the_joint_epochs_the_budget_is_unknown(flow: Flow, tmp_path: Path):
    run = shutil.copytree(flow.run, tmp_path / "run")
    (run / "log.jsonl").write_text("")
    with pytest.raises(CheckpointError, match=r"no record of its epochs.*give --epochs"):
        training_cost.run_cost(open_run(run))
    (run / "log.jsonl").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        training_cost.run_cost(open_run(run))
