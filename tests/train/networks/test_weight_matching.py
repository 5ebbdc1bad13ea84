"""Names of weights: matched by name, else by order and shape, and refused where neither is certain."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from eed_edge.errors import CheckpointError
from eed_edge.recipe import Net
from eed_edge.train.networks import build
from tests.train.networks.usual_resnet import load, prefixed, same, shaken


def test_names_of_ones_own_are_matched_by_order_and_shape(tmp_path, usual):
    def other_name(name):
        return name.replace("layer", "stage").replace("conv", "c").replace("bn", "norm").replace("fc", "head")

    torch.save({other_name(name): tensor for name, tensor in usual.state_dict().items()}, tmp_path / "net.pt")
    loaded = load(tmp_path / "net.pt")
    assert same(loaded, usual)
    assert any("stage1.0.c1" in note and "blocks.0.conv1 (8, 8, 3, 3)" in note for note in loaded.notes)


def test_weights_with_the_networks_own_names_are_told_in_one_line(tmp_path, usual):
    body = shaken(build.build_network("resnet18", classes=4, channels=3, width=8).body)
    torch.save(prefixed("module.")(body.state_dict()), tmp_path / "net.pt")
    loaded = load(tmp_path / "net.pt")
    assert same(loaded, body)
    assert loaded.notes[0] == "base.init: net.pt: 122 tensors matched by name"
    assert len(loaded.notes) == 2


def test_counters_of_batch_norms_go_where_their_layers_go(tmp_path, usual):
    usual.layer2[0].downsample[1].num_batches_tracked.fill_(7)
    torch.save(usual.state_dict(), tmp_path / "net.pt")
    counts = {n: int(t) for n, t in load(tmp_path / "net.pt").net.named_buffers() if n.endswith("tracked")}
    assert [name for name, count in counts.items() if count] == [
        "body.blocks.2.shortcut.1.num_batches_tracked"
    ]


@pytest.fixture
def alike(tmp_path, monkeypatch):
    """Recipe of a network of twelve layers that nothing but their order tells apart."""
    (tmp_path / "deep_net.py").write_text(
        "from torch import nn\n"
        "def build(*, classes, channels, width):\n"
        "    layers = [layer for _ in range(12) for layer in (nn.Linear(3, 3), nn.Tanh())]\n"
        "    return nn.Sequential(nn.Flatten(), *layers)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return Net(arch="deep_net:build")


@pytest.mark.parametrize(
    "save",
    [torch.save, save_file, lambda weights, path: torch.save(dict(sorted(weights.items())), path)],
    ids=["registered", "safetensors", "sorted"],
)
def test_layers_that_look_alike_are_not_confused_by_sorted_names(tmp_path, alike, save):
    torch.manual_seed(2)
    layers = [nn.Linear(3, 3) for _ in range(12)]
    save(nn.ModuleDict({f"fc{i}": layer for i, layer in enumerate(layers)}).state_dict(), tmp_path / "w")
    expected = nn.Sequential(nn.Flatten(), *(part for layer in layers for part in (layer, nn.Tanh())))
    loaded = load(tmp_path / "w", alike, classes=3)
    assert same(loaded, expected, torch.rand(4, 3, 1, 1))


def test_a_sorted_file_in_which_names_do_not_tell_the_order_is_refused(tmp_path, alike):
    names = [f"layer{i}" for i in range(11)] + ["first"]
    weights = nn.ModuleDict({name: nn.Linear(3, 3) for name in names}).state_dict()
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(
        CheckpointError, match=r"first, layer.*names or an order that tell these layers"
    ) as caught:
        load(tmp_path / "w.safetensors", alike, classes=3)
    assert "\n" not in str(caught.value)


class OtherOrder(nn.Module):
    """The norm of each pair before its convolution, and unknown names."""

    def __init__(self) -> None:
        super().__init__()
        body = build.build_network("resnet18", classes=4, channels=3, width=8).body
        owners = dict.fromkeys(name.rpartition(".")[0] for name in body.state_dict())
        layers = [body.get_submodule(name) for name in owners]
        layers[0], layers[1] = layers[1], layers[0]
        self.all = nn.ModuleList(layers)


def test_layers_in_another_order_are_refused(tmp_path):
    torch.save(OtherOrder().state_dict(), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"all.0: expected weight \(8, 3, 3, 3\), got weight \(8,\)"):
        load(tmp_path / "net.pt")


def test_names_that_contradict_the_order_are_refused(tmp_path):
    weights = build.build_network("resnet18", classes=4, channels=3, width=8).body.state_dict()
    turn = {"blocks.0.conv1": "blocks.0.conv2", "blocks.0.conv2": "blocks.0.conv1", "classify": "head"}
    renamed = {}
    for name, tensor in weights.items():
        owner, _, leaf = name.rpartition(".")
        renamed[f"{turn.get(owner, owner)}.{leaf}"] = tensor
    torch.save(renamed, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"classify.weight: expected a tensor"):
        load(tmp_path / "net.pt")
