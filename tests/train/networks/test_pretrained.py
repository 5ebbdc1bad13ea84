"""Pretrained weights: whatever wraps or names them, the loaded network answers as the one they came from."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from eed_edge.errors import CheckpointError
from eed_edge.recipe import Net
from eed_edge.train.networks import (
    build,
    checkpoint,
    pretrained,
    state_dict,
)

CFG = Net(width=8)


class Block(nn.Module):
    """As torchvision writes it, with the name of the shortcut to choose."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.aside = shortcut
        if stride != 1 or inputs != outputs:
            norm = nn.BatchNorm2d(outputs)
            setattr(self, shortcut, nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + getattr(self, self.aside, nn.Identity())(x))


class UsualResNet18(nn.Module):
    """ResNet-18 in its form for small pictures, in the names of torchvision or of the CIFAR repositories."""

    def __init__(self, *, width=8, classes=4, channels=3, stem=3, shortcut="downsample", last="fc") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, stem, 1, stem // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for i in range(4):
            outputs = width * 2**i
            stride = 1 if i == 0 else 2
            blocks = (Block(inputs, outputs, stride, shortcut), Block(outputs, outputs, 1, shortcut))
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
            inputs = outputs
        self.last = last
        setattr(self, last, nn.Linear(inputs, classes))

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for i in range(4):
            x = getattr(self, f"layer{i + 1}")(x)
        return getattr(self, self.last)(F.adaptive_avg_pool2d(x, 1).flatten(1))


def shaken(net: nn.Module) -> nn.Module:
    """With statistics and weights that no two layers share, ready to answer."""
    torch.manual_seed(5)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval()


@pytest.fixture
def usual() -> nn.Module:
    return shaken(UsualResNet18())


IMAGES = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def load(path, cfg=CFG, *, classes=4, channels=3):
    return pretrained.load_pretrained(path, cfg, classes=classes, channels=channels)


def same(found: pretrained.Pretrained, expected: nn.Module, images=IMAGES) -> bool:
    with torch.no_grad():
        return torch.allclose(found.net(images), expected(images), atol=1e-5)


@pytest.mark.parametrize(("shortcut", "last"), [("downsample", "fc"), ("shortcut", "linear")])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_resnet18_in_the_usual_names_answers_as_the_network_it_came_from(tmp_path, shortcut, last, ending):
    net, path = shaken(UsualResNet18(shortcut=shortcut, last=last)), tmp_path / f"net.{ending}"
    (torch.save if ending == "pt" else save_file)(net.state_dict(), path)
    found = load(path)
    assert same(found, net)
    rows = [note for note in found.notes if "->" in note]
    assert len(rows) == 41  # 20 convolutions and their norms, and the last layer
    assert any(row.split()[1:4] == ["layer3.0.conv1", "->", "blocks.4.conv1"] for row in rows)


def prefixed(prefix):
    return lambda weights: {prefix + name: tensor for name, tensor in weights.items()}


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
    found = load(tmp_path / "half.pt")
    assert same(found, usual)
    assert {parameter.dtype for parameter in found.net.parameters()} == {torch.float32}


def test_names_of_ones_own_are_matched_by_order_and_shape(tmp_path, usual):
    def own(name):
        return name.replace("layer", "stage").replace("conv", "c").replace("bn", "norm").replace("fc", "head")

    torch.save({own(name): tensor for name, tensor in usual.state_dict().items()}, tmp_path / "net.pt")
    found = load(tmp_path / "net.pt")
    assert same(found, usual)
    assert any("stage1.0.c1" in note and "blocks.0.conv1 (8, 8, 3, 3)" in note for note in found.notes)


def test_weights_with_the_networks_own_names_are_told_in_one_line(tmp_path, usual):
    body = shaken(build.build_network("resnet18", classes=4, channels=3, width=8).body)
    torch.save(prefixed("module.")(body.state_dict()), tmp_path / "net.pt")
    found = load(tmp_path / "net.pt")
    assert same(found, body)
    assert found.notes[0] == "base.init: net.pt: 122 tensors matched by name"
    assert len(found.notes) == 2


def test_counters_of_batch_norms_go_where_their_layers_go(tmp_path, usual):
    usual.layer2[0].downsample[1].num_batches_tracked.fill_(7)
    torch.save(usual.state_dict(), tmp_path / "net.pt")
    counts = {n: int(t) for n, t in load(tmp_path / "net.pt").net.named_buffers() if n.endswith("tracked")}
    assert [name for name, count in counts.items() if count] == [
        "body.blocks.2.shortcut.1.num_batches_tracked"
    ]


@pytest.mark.parametrize("last", ["classifier", "classifier.6"])
def test_vgg16_in_the_usual_names_answers_as_the_network_it_came_from(tmp_path, last):
    body = shaken(build.build_network("vgg16", classes=4, channels=3, width=2).body)
    weights = {name.replace("classify", last): tensor for name, tensor in body.state_dict().items()}
    images = torch.rand(2, 3, 32, 32)
    for path, save in ((tmp_path / "a.pt", torch.save), (tmp_path / "a.safetensors", save_file)):
        save(weights, path)
        assert same(load(path, Net(arch="vgg16", width=2)), body, images)


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
    found = load(tmp_path / "w", alike, classes=3)
    assert same(found, expected, torch.rand(4, 3, 1, 1))


def test_a_sorted_file_in_which_names_do_not_tell_the_order_is_refused(tmp_path, alike):
    names = [f"layer{i}" for i in range(11)] + ["first"]
    weights = nn.ModuleDict({name: nn.Linear(3, 3) for name in names}).state_dict()
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(
        CheckpointError, match=r"first, layer.*names or an order that tell these layers"
    ) as caught:
        load(tmp_path / "w.safetensors", alike, classes=3)
    assert "\n" not in str(caught.value)


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
    found = load(tmp_path / "net.pt")
    assert same(found, net)
    assert found.notes[-1].endswith(
        f"module.normalize.{names[0]} (0.5, 0.4, 0.3) and module.normalize.{names[1]} (0.2, 0.25, 0.3)"
    )
    with_own = load(tmp_path / "net.pt", Net(width=8, mean=(0.1,), std=(0.7,)))
    with torch.no_grad():
        assert torch.allclose(with_own.net(IMAGES), usual((IMAGES - 0.1) / 0.7), atol=1e-5)
    assert "net.mean [0.1], net.std [0.7]" in with_own.notes[-1]


def test_without_a_normalisation_images_go_in_as_they_are_and_the_log_says_so(tmp_path, usual):
    torch.save(usual.state_dict(), tmp_path / "net.pt")
    found = load(tmp_path / "net.pt")
    assert same(found, usual)
    assert "no normalisation in the file" in found.notes[-1]
    assert "net.mean" in found.notes[-1]


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
    found = load(tmp_path / "own", Net(width=8, mean=(0.5,), std=(0.25,)))
    assert found.net.normalise.mean.flatten().tolist() == [0.5] * 3
    with pytest.raises(CheckpointError, match="expected a network with width 16, got 8"):
        load(tmp_path / "own", Net(width=16))
    net.body.classify.bias.data[0] = float("inf")
    checkpoint.save_network(tmp_path / "own", net, {})
    with pytest.raises(CheckpointError, match=r"body.classify.bias: expected finite numbers"):
        load(tmp_path / "own")
