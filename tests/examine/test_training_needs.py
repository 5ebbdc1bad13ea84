"""The estimate of what a training needs, beside a training that was done."""

import pytest
import torch

from eed_edge.examine import training_time
from eed_edge.examine.training_needs import training_needs
from eed_edge.prune.dry_run import check_prunable
from eed_edge.recipe import load_recipe
from eed_edge.report.formats import duration, memory_size
from eed_edge.train.data.batches import on_device
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.networks.build import build_network
from tests.conftest import TINY


def test_the_run_folder_is_not_larger_than_estimated_nor_much_smaller(flow):
    recipe = load_recipe(str(TINY))
    splits = splits_for_recipe(recipe, None)
    few = on_device(splits.train, torch.device("cpu"))[slice(0, 32)]
    net = build_network(
        recipe.net.arch, classes=len(splits.classes), channels=splits.input.size[0], width=recipe.net.width
    )
    dry = check_prunable(net, few, recipe)
    needs = training_needs(net, dry, few, recipe, train=len(splits.train), tune=len(splits.tune))
    weights = sum(path.stat().st_size for path in flow.run.rglob("*.safetensors"))
    assert 0.5 * needs.disk_bytes < weights < needs.disk_bytes
    assert set(needs.seconds) == {"base", "pool", "select", "joint"}
    assert needs.memory_bytes > 100 * 2**20  # torch alone
    assert needs.line.startswith("about ")
    assert needs.line.endswith(f"{memory_size(needs.disk_bytes)} of disk")


def test_soft_labels_once_are_counted_once_for_pool_and_joint_stage(monkeypatch):
    """With a second for a pass forward and backward, the base's pass forward takes a third of it."""
    for name in ("gradient_seconds", "step_seconds"):
        monkeypatch.setattr(training_time, name, lambda *_: 1.0)

    def needs(*changes: str) -> dict[str, float]:
        recipe = load_recipe(str(TINY), ["joint.distill=0.5", *changes])
        splits = splits_for_recipe(recipe, None)
        few = on_device(splits.train, torch.device("cpu"))[slice(0, 32)]
        net = build_network("resnet18", classes=10, channels=1, width=recipe.net.width)
        dry = check_prunable(net, few, recipe)
        return training_time.training_seconds(net, dry, few, recipe, train=90, tune=10)

    without = needs("pool.distill=0", "joint.distill=0")
    once = needs("pool.soft_labels='once'", "joint.soft_labels='once'")
    assert once["pool"] - without["pool"] == pytest.approx(2 * 90 / 3)
    assert once["joint"] == pytest.approx(without["joint"])
    recipe = load_recipe(str(TINY))
    each = needs()
    assert each["joint"] - without["joint"] == pytest.approx(recipe.joint.epochs * 90 / 3)
    members = training_time.team_size(recipe)
    team = needs("joint.teacher='team'")
    assert team["joint"] - without["joint"] == pytest.approx(members * recipe.joint.epochs * 90 / 3)


def test_lengths_of_time_and_sizes_have_units_that_suit_them():
    assert [duration(each) for each in (4.4, 119, 121, 7300)] == ["4 s", "119 s", "2 min", "2.0 h"]
    assert [memory_size(each * 2**20) for each in (3, 1023, 1536)] == ["3 MiB", "1023 MiB", "1.5 GiB"]
