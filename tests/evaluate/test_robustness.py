"""Evaluation: the definitions of static and dynamic, on images whose fate is known."""

import json

import numpy as np
import pytest
import torch

import eed_edge
from eed_edge.evaluate import robustness
from eed_edge.evaluate.robustness import Defences
from eed_edge.train import data
from eed_edge.train.batches import Images
from eed_edge.train.run import open_run
from tests.conftest import TINY, Flow, call


@pytest.fixture(scope="module")
def defences(flow: Flow) -> Defences:
    run = open_run(flow.run)
    return Defences(run.base(), run.ensemble(), eed_edge.load(flow.bundle))


@pytest.fixture(scope="module")
def images(flow: Flow) -> Images:
    test = data.for_recipe(open_run(flow.run).recipe, None).test
    return Images(torch.from_numpy(test.images[:80].copy()), torch.from_numpy(test.labels[:80]))


def test_without_an_attack_radius_attacked_accuracy_is_clean_accuracy(defences, images):
    clean = robustness.clean(defences, images, lambda *_: None)
    attacked = robustness.pgd20(defences, images, eps=0.0, seed=0, watch=lambda *_: None)
    for name in ("dense", "static", "dynamic"):
        np.testing.assert_array_equal(getattr(clean, name), getattr(attacked, name))


def test_dynamic_counts_an_image_only_if_it_survives_every_prefix(defences, images):
    found = robustness.pgd20(defences, images, eps=0.1, seed=0, watch=lambda *_: None)
    generator = torch.Generator().manual_seed(0)
    batch, labels = images.images.float() / 255, images.labels
    survived = defences.deployed(batch.numpy()).labels == labels.numpy()
    networks = [defences.dense] + [defences.ensemble.prefix(t) for t in (1, 2)]
    for net in networks[:1] + networks[1:]:
        attacked = robustness.attacks.pgd(
            net, batch, labels, eps=0.1, step=0.025, steps=20, generator=generator
        )
        if net is not defences.dense:
            survived &= defences.deployed(attacked.numpy()).labels == labels.numpy()
    assert (found.dynamic == survived).mean() > 0.97  # the order of random starts is the same
    assert found.dynamic.sum() <= found.static.sum()


def test_more_radius_never_helps(defences, images):
    right = [
        robustness.pgd20(defences, images, eps=eps, seed=0, watch=lambda *_: None).dense.mean()
        for eps in (0.0, 0.05, 0.3)
    ]
    assert right[0] >= right[1] >= right[2]


def test_more_images_than_test_has_are_refused(flow: Flow):
    result = call("attack", flow.run, flow.bundle, "--images", 10_000)
    assert result.exit_code == 1
    assert "at most the 467 test images, got 10000" in result.output


def test_training_never_reads_test_and_attack_reads_nothing_of_calib(flow: Flow, tmp_path, monkeypatch):
    def trap(*_):
        raise AssertionError("test was read")

    monkeypatch.setattr(data.Splits, "test", property(trap))
    assert call("train", TINY, "--run", tmp_path / "run", "--until", "base").exit_code == 0
    monkeypatch.undo()
    monkeypatch.setattr(type(open_run(flow.run)), "calib", trap)
    assert call("attack", flow.run, flow.bundle, "--images", 20).exit_code == 0


def test_attacking_changes_neither_the_gate_nor_the_members(flow: Flow):
    before = {p: p.read_bytes() for p in [*flow.bundle.iterdir(), *(flow.run / "joint").iterdir()]}
    assert call("attack", flow.run, flow.bundle, "--images", 20).exit_code == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    assert json.loads((flow.run / "report.json").read_text())["accuracy"]["clean"]["images"] == 20
