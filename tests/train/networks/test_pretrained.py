"""Pretrained weights: whatever wraps or names them, the loaded network answers as the one they came from."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from eed_edge.errors import CheckpointError
from eed_edge.recipe import Net
from eed_edge.train.networks import (
    build,
    checkpoint,
)
from tests.train.networks.usual_resnet import IMAGES, UsualResNet18, load, prefixed, same, shaken


@pytest.mark.parametrize(("shortcut", "last"), [("downsample", "fc"), ("shortcut", "linear")])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_resnet18_in_the_usual_names_answers_as_the_network_it_came_from(tmp_path, shortcut, last, ending):
    net, path = shaken(UsualResNet18(shortcut=shortcut, last=last)), tmp_path / f"net.{ending}"
    (torch.save if ending == "pt" else save_file)(net.state_dict(), path)
    loaded = load(path)
    assert same(loaded, net)
    rows = [note for note in loaded.notes if "->" in note]
    assert len(rows) == 41  # 20 convolutions and their norms, and the last layer
    assert any(row.split()[1:4] == ["layer3.0.conv1", "->", "blocks.4.conv1"] for row in rows)


WRAPPED = {
    "module.": prefixed("module."),
    "model.": prefixed("model."),
    "_orig_mod.module.": prefixed("_orig_mod.module."),
    "state_dict": lambda weights: {"state_dict": weights, "epoch": 3},
    "model_state_dict": lambda weights: {"model_state_dict": weights, "optimizer": {"state": {}}},
    "model, an optimiser with tensors": lambda weights: {"optimizer": {"m": torch.ones(2)}, "model": weights},
    "net": lambda weights: {"net": weights, "acc": 94.6},
    "nested": lambda weights: {"state": 1, "model": {"state_dict": prefixed("module.")(weights)}},
    "a key of one's own": lambda weights: {"best": weights, "epoch": torch.tensor(1)},
    "without counters": lambda weights: {n: t for n, t in weights.items() if "num_batches" not in n},
    "parameters": lambda weights: {n: nn.Parameter(t, t.is_floating_point()) for n, t in weights.items()},
    "double": lambda weights: {n: t.double() if t.is_floating_point() else t for n, t in weights.items()},
    "other order": lambda weights: dict(reversed(weights.items())),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED.keys())
def test_what_is_wrapped_around_a_state_dict_is_taken_off(tmp_path, usual, wrap):
    torch.save(wrap(usual.state_dict()), tmp_path / "net.pth")
    assert same(load(tmp_path / "net.pth"), usual)


def test_the_content_decides_and_not_the_ending(tmp_path, usual):
    torch.save(usual.state_dict(), tmp_path / "a.safetensors")
    torch.save(usual.state_dict(), tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    save_file(usual.state_dict(), tmp_path / "b.pt")
    for name in ("a.safetensors", "old.bin", "b.pt"):
        assert same(load(tmp_path / name), usual)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_single_precision_of_the_same_values(tmp_path, usual, dtype):
    rounded = {name: t.to(dtype) if t.is_floating_point() else t for name, t in usual.state_dict().items()}
    torch.save(rounded, tmp_path / "half.pt")
    usual.load_state_dict(rounded)
    loaded = load(tmp_path / "half.pt")
    assert same(loaded, usual)
    assert {parameter.dtype for parameter in loaded.net.parameters()} == {torch.float32}


@pytest.mark.parametrize("last", ["classifier", "classifier.6"])
def test_vgg16_in_the_usual_names_answers_as_the_network_it_came_from(tmp_path, last):
    body = shaken(build.build_network("vgg16", classes=4, channels=3, width=2).body)
    weights = {name.replace("classify", last): tensor for name, tensor in body.state_dict().items()}
    images = torch.rand(2, 3, 32, 32)
    for path, save in ((tmp_path / "a.pt", torch.save), (tmp_path / "a.safetensors", save_file)):
        save(weights, path)
        assert same(load(path, Net(arch="vgg16", width=2)), body, images)


class Normalised(nn.Module):
    """A network behind its normalisation, as robustness libraries store it."""

    def __init__(self, net: nn.Module, names: tuple[str, str], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.normalize, self.names, self.net = nn.Module(), names, net
        for name, values in zip(names, ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3]), strict=True):
            self.normalize.register_buffer(name, torch.tensor(values).view(shape))

    def forward(self, images):
        mean, std = (getattr(self.normalize, name).view(1, -1, 1, 1) for name in self.names)
        return self.net((images - mean) / std)


@pytest.mark.parametrize("names", [("mean", "std"), ("mu", "sigma"), ("image_mean", "image_std")])
@pytest.mark.parametrize("shape", [(3,), (1, 3, 1, 1)])
def test_a_normalisation_inside_the_file_is_used(tmp_path, usual, names, shape):
    net = Normalised(usual, names, shape).eval()
    torch.save(prefixed("module.")(net.state_dict()), tmp_path / "net.pt")
    loaded = load(tmp_path / "net.pt")
    assert same(loaded, net)
    assert loaded.notes[-1].endswith(
        f"module.normalize.{names[0]} (0.5, 0.4, 0.3) and module.normalize.{names[1]} (0.2, 0.25, 0.3)"
    )
    with_recipe_values = load(tmp_path / "net.pt", Net(width=8, mean=(0.1,), std=(0.7,)))
    with torch.no_grad():
        assert torch.allclose(with_recipe_values.net(IMAGES), usual((IMAGES - 0.1) / 0.7), atol=1e-5)
    assert "net.mean [0.1], net.std [0.7]" in with_recipe_values.notes[-1]


def test_without_a_normalisation_images_go_in_as_they_are_and_the_log_says_so(tmp_path, usual):
    torch.save(usual.state_dict(), tmp_path / "net.pt")
    loaded = load(tmp_path / "net.pt")
    assert same(loaded, usual)
    assert "no normalisation in the file" in loaded.notes[-1]
    assert "net.mean" in loaded.notes[-1]


def test_a_normalisation_for_images_up_to_255_is_refused(tmp_path, usual):
    weights = {"mean": torch.full((3,), 123.7), "std": torch.full((3,), 58.4)} | dict(usual.state_dict())
    torch.save(weights, tmp_path / "net.pt")
    with pytest.raises(
        CheckpointError, match=r"mean, std: mean: expected means of images.*set net.mean and net.std"
    ):
        load(tmp_path / "net.pt")
    assert load(tmp_path / "net.pt", Net(width=8, mean=(0.5,), std=(0.2,))).net is not None


def test_a_mean_without_a_deviation_is_refused(tmp_path, usual):
    torch.save({"mean": torch.full((3,), 0.5)} | dict(usual.state_dict()), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match="mean: expected no such tensor"):
        load(tmp_path / "net.pt")


def test_our_own_checkpoint_keeps_its_normalisation_unless_the_recipe_names_one(tmp_path):
    net = build.build_network("resnet18", classes=4, channels=3, width=8).eval()
    net.normalise.set([0.3, 0.2, 0.1], [0.5])
    checkpoint.save_network(tmp_path / "own", net, {})
    assert same(load(tmp_path / "own"), net)
    loaded = load(tmp_path / "own", Net(width=8, mean=(0.5,), std=(0.25,)))
    assert loaded.net.normalise.mean.flatten().tolist() == [0.5] * 3
    with pytest.raises(CheckpointError, match="expected a network with width 16, got 8"):
        load(tmp_path / "own", Net(width=16))
    net.body.classify.bias.data[0] = float("inf")
    checkpoint.save_network(tmp_path / "own", net, {})
    with pytest.raises(CheckpointError, match=r"body.classify.bias: expected finite numbers"):
        load(tmp_path / "own")
