"""Checkpoints: what is loaded is what was saved, pruned widths included, and nothing else is taken."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from eed_edge.errors import CheckpointError
from eed_edge.prune.groups import analyse
from eed_edge.prune.removal import remove_channels
from eed_edge.prune.score_search import ChannelScores
from eed_edge.train.networks import build, checkpoint


@pytest.fixture
def net():
    return build.build_network("resnet18", classes=4, channels=3, width=8).eval()


def test_a_pruned_network_answers_the_same_after_saving_and_loading(net, tmp_path):
    image = torch.rand(2, 3, 8, 8)
    structure = analyse(net, image[:1])
    scores = {group.root: torch.rand(group.channels) for group in structure.groups}
    small = remove_channels(
        net, structure, ChannelScores(scores, {}), {group.root: 5 for group in structure.groups}
    ).eval()
    checkpoint.save_network(tmp_path / "small.safetensors", small, {"note": "pruned"})
    loaded, record = checkpoint.load_network(tmp_path / "small.safetensors")
    assert torch.equal(loaded(image), small(image))
    assert record["note"] == "pruned"
    assert loaded.body.stem[0].out_channels == 5


def test_the_same_network_gives_the_same_bytes(net, tmp_path):
    for name in ("a", "b"):
        checkpoint.save_network(tmp_path / name, net, {"b": 1, "a": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_checkpoint_cut_at_any_place_is_refused(net, tmp_path):
    path = tmp_path / "net.safetensors"
    checkpoint.save_network(path, net, {})
    content = path.read_bytes()
    for length in (0, 7, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="expected a whole safetensors file"):
            checkpoint.load_checkpoint(path)


def test_a_pickle_is_refused_unread(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    (tmp_path / "net.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError, match="expected a whole safetensors file"):
        checkpoint.load_network(tmp_path / "net.safetensors")
    assert not (tmp_path / "sprung").exists()


def test_files_of_others_and_missing_files_are_told_apart(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="of format 1"):
        checkpoint.load_checkpoint(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        checkpoint.load_checkpoint(tmp_path / "missing.safetensors")


def test_weights_that_do_not_fit_their_architecture_are_refused_in_one_line(net, tmp_path):
    record = {"architecture": {**net.architecture, "arch": "vgg16"}}
    checkpoint.save_checkpoint(tmp_path / "net.safetensors", net.state_dict(), record)
    with pytest.raises(CheckpointError, match="do not fit the network") as caught:
        checkpoint.load_network(tmp_path / "net.safetensors")
    assert "\n" not in str(caught.value)
