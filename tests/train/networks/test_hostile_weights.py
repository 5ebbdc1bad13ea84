"""Weights files that name modules, or damaged values, are refused in one line, and nothing is imported."""

import sys

import pytest
import torch

from eed_edge.errors import CheckpointError
from eed_edge.recipe import Net
from eed_edge.train.networks import checkpoint
from eed_edge.train.networks.build import build_network
from eed_edge.train.networks.pretrained import load_pretrained
from tests.hostile.weights_files import HOSTILE_WEIGHTS, imports_planted_module


@pytest.mark.parametrize("make", HOSTILE_WEIGHTS, ids=lambda make: make.__name__)
def test_it_is_refused_and_imports_nothing(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, before = make(tmp_path), set(sys.modules)
    for load in (
        checkpoint.load_network,
        lambda path: load_pretrained(path, Net(arch="resnet18", width=8), classes=3, channels=3),
    ):
        with pytest.raises(CheckpointError) as error:
            load(path)
        assert "\n" not in str(error.value)
    assert not {"this", "planted"} & (set(sys.modules) - before)
    assert not (tmp_path / "sprung").exists()


def test_the_module_that_the_recipe_names_is_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_net_of_test.py").write_text(
        "from torch import nn\n"
        "def build(*, classes, channels, width):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 4, classes))\n"
    )
    arch = "own_net_of_test:build"
    net = build_network(arch, classes=3, channels=1, width=8)
    checkpoint.save_network(tmp_path / "own.safetensors", net, {})
    loaded, _ = checkpoint.load_network(tmp_path / "own.safetensors", named_arch=arch)
    images = torch.rand(2, 1, 2, 2)
    assert torch.equal(loaded(images), net(images))
    with pytest.raises(CheckpointError, match=r"set net\.arch to it if you trust that module"):
        checkpoint.load_network(tmp_path / "own.safetensors")
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(tmp_path)])
    monkeypatch.delitem(sys.modules, "own_net_of_test")
    with pytest.raises(
        CheckpointError, match=r"safetensors: net\.arch .* run the command in the folder"
    ) as elsewhere:
        checkpoint.load_network(tmp_path / "own.safetensors", named_arch=arch)
    assert "do not fit" not in str(elsewhere.value)


def test_another_name_in_the_recipe_does_not_vouch_for_the_file_s(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="which was not imported"):
        checkpoint.load_network(imports_planted_module(tmp_path), named_arch="other:build")
    assert not (tmp_path / "sprung").exists()
