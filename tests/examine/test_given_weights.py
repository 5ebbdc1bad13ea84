"""Given weights of networks of one's own: loaded from every kind of file, or refused by name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_model

from eed_edge.errors import CheckpointError
from eed_edge.recipe import Net
from eed_edge.train.networks import build
from eed_edge.train.networks.pretrained import load_pretrained
from tests.examine import coverage, odd

ARCH = "tests.examine.coverage:{}"


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", sorted(coverage.NETWORKS))
def test_the_weights_of_a_network_of_ones_own_arrive_unchanged(kind: str, ending: str, tmp_path: Path):
    make = coverage.NETWORKS[kind]
    trained, path = make(classes=4, channels=1, width=16), tmp_path / f"net{ending}"
    torch.save(trained.state_dict(), path) if ending == ".pt" else save_model(trained, path)
    read = load_pretrained(path, Net(arch=ARCH.format(make.__name__), width=16), classes=4, channels=1)
    for ours, theirs in zip(read.net.body.state_dict().values(), trained.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_weights_of_another_width_are_refused_with_the_tensor_s_name(tmp_path: Path):
    torch.save(coverage.PlainCNN(classes=4, channels=1, width=8).state_dict(), tmp_path / "net.pt")
    cfg = Net(arch=ARCH.format("PlainCNN"), width=16)
    with pytest.raises(
        CheckpointError, match=r"conv1.weight: expected .*\(16, 1, 3, 3\), got .*\(8, 1, 3, 3\)"
    ):
        load_pretrained(tmp_path / "net.pt", cfg, classes=4, channels=1)


@pytest.mark.parametrize("name", ["SharedLayer", "SharedWeight"])
def test_a_file_that_stores_a_shared_weight_once_fills_both_names(name: str, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(build.ARCHITECTURES, "shared", lambda **sizes: odd.build(name, **sizes))
    trained = odd.build(name, width=16)
    save_model(trained, tmp_path / "net.safetensors")
    read = load_pretrained(tmp_path / "net.safetensors", Net(arch="shared", width=16), classes=4, channels=1)
    state = read.net.body.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in trained.state_dict().items())
