"""Weight files that are of another network, damaged or hostile: refused in one line, nothing executed."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from eed_edge.errors import CheckpointError
from eed_edge.train.networks import (
    state_dict,
)
from tests.train.networks.usual_resnet import UsualResNet18, load


def without(name):
    return lambda weights: {key: tensor for key, tensor in weights.items() if key != name}


def with_bias(weights):
    return {**weights, "conv1.bias": torch.zeros(8)}


def with_two_last_layers(weights):
    return {**weights, "linear.weight": weights["fc.weight"].clone()}


def numbered(weights):
    return {f"x.{i}.{name.rpartition('.')[2]}": tensor for i, (name, tensor) in enumerate(weights.items())}


STEM = r"conv1.weight: expected shape \(8, 3, 3, 3\), got "


@pytest.mark.parametrize(
    ("network", "change", "message"),
    [
        ({"classes": 7}, dict, r"fc.weight: expected shape \(4, 64\), got \(7, 64\); 2 of 102 tensors"),
        ({"width": 16}, dict, STEM + r"\(16, 3, 3, 3\); 101 of 102 tensors do not fit"),
        ({"stem": 7}, dict, STEM + r"\(8, 3, 7, 7\); 1 of 102"),
        ({"channels": 1}, dict, STEM + r"\(8, 1, 3, 3\); 1 of 102"),
        ({}, without("bn1.running_var"), r"stem.1.running_var: expected a tensor of shape \(8,\), got none"),
        ({}, with_bias, r"conv1.bias: expected no such tensor, got one; 1 of 102"),
        ({}, with_two_last_layers, r"expected no such tensor, got one; 1 of 102"),
        ({"width": 16}, numbered, r"stem.0: expected weight \(8, 3, 3, 3\), got x.0 with weight \(16, 3"),
    ],
)
@pytest.mark.parametrize("save", [torch.save, save_file])
def test_weights_of_another_network_are_refused_in_one_line(tmp_path, network, change, message, save):
    save(change(UsualResNet18(**network).state_dict()), tmp_path / "net")
    with pytest.raises(CheckpointError, match=message) as caught:
        load(tmp_path / "net")
    assert "\n" not in str(caught.value)
    assert "change net.arch or net.width, or take other weights" in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t * float("nan"), "conv1.weight: expected finite numbers"),
        (lambda t: t.double() * 1e300, "expected finite numbers"),
        (lambda t: t.to(torch.int8), "conv1.weight: expected torch.float32, got torch.int8"),
        (lambda t: t.to(torch.complex64), "expected torch.float32, got torch.complex64"),
        (lambda t: t.to_sparse(), "expected a dense tensor, got a torch.sparse_coo one"),
    ],
    ids=["nan", "too large", "integers", "complex", "sparse"],
)
def test_tensors_that_are_no_weights_are_refused(tmp_path, usual, damage, message):
    weights = usual.state_dict()
    torch.save({**weights, "conv1.weight": damage(weights["conv1.weight"])}, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        load(tmp_path / "net.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation")
def test_quantised_tensors_are_refused(tmp_path, usual):
    weights = usual.state_dict()
    weights["conv1.weight"] = torch.quantize_per_tensor(weights["conv1.weight"], 0.1, 0, torch.qint8)
    torch.save(weights, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"conv1.weight: expected a dense tensor, got a quantised one"):
        load(tmp_path / "net.pt")


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return (self.path.touch, ())


@pytest.mark.parametrize("form", ["zip", "legacy", "plain pickle", "beside weights"])
def test_a_hostile_pickle_is_refused_and_not_executed(tmp_path, usual, form):
    trap, path = Trap(tmp_path / "sprung"), tmp_path / "net.pt"
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(trap))
    else:
        value = {**usual.state_dict(), "note": trap} if form == "beside weights" else trap
        torch.save(value, path, _use_new_zipfile_serialization=form != "legacy")
    with pytest.raises(CheckpointError, match="which was not loaded") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sprung").exists()


def test_the_trap_of_the_hostile_pickle_works(tmp_path):
    torch.save(Trap(tmp_path / "sprung"), tmp_path / "net.pt")
    torch.load(tmp_path / "net.pt", weights_only=False)
    assert (tmp_path / "sprung").exists()


def test_a_pickled_network_is_refused_with_advice(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"\(torch.nn.modules.linear.Linear\).*save net.state_dict\(\)"):
        load(tmp_path / "net.pt")


def endless():
    value = {}
    value["model"] = value
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(2), "got Tensor"),
        ([torch.zeros(2)], "got list"),
        ({"epoch": 3, "lr": 0.1}, "got a dict of 'epoch', 'lr'"),
        ({}, "expected a state dict"),
        ({"state_dict": {"a\nb": torch.zeros(2)}}, "got a dict of 'a\\\\nb'"),
        (endless(), "got a dict of 'model'"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path, value, message):
    torch.save(value, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        state_dict.read_state_dict(tmp_path / "net.pt")
    assert "\n" not in str(caught.value)


def test_missing_cut_and_foreign_files_are_refused_in_one_line(tmp_path, usual):
    with pytest.raises(CheckpointError, match=r"no such file; set base.init"):
        load(tmp_path / "missing.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(CheckpointError, match="got neither"):
        load(tmp_path / "text.pt")
    for save, message in ((torch.save, "whole file of torch.save"), (save_file, "whole safetensors file")):
        path = tmp_path / "cut"
        save(usual.state_dict(), path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(CheckpointError, match=message) as caught:
            load(path)
        assert "\n" not in str(caught.value)
