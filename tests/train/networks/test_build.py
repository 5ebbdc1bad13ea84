"""The networks: sizes from the literature, a user's own, and shapes after pruning."""

import sys

import pytest
import torch
from torch import nn

from eed_edge.errors import NetworkError
from eed_edge.train.networks import build, resize


@pytest.mark.parametrize(
    ("arch", "millions"), [("resnet18", 11.17), ("vgg16", 14.72)], ids=["resnet18", "vgg16"]
)
def test_full_size_networks_have_the_parameters_that_the_paper_names(arch, millions):
    net = build.build_network(arch, classes=10, channels=3, width=64)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.01)


def test_normalisation_is_the_first_layer():
    net = build.build_network("resnet18", classes=4, channels=1, width=8).eval()
    net.normalise.mean.fill_(0.25)
    net.normalise.std.fill_(0.5)
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(net(images), net.body((images - 0.25) / 0.5))


def test_the_seed_alone_decides_the_weights():
    state = torch.get_rng_state()
    one, same, other = (
        build.build_network("vgg16", classes=3, channels=3, width=2, seed=s) for s in (1, 1, 2)
    )
    assert torch.equal(one.body.classify.weight, same.body.classify.weight)
    assert not torch.equal(one.body.classify.weight, other.body.classify.weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_of_ones_own_is_found_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(
        "from torch import nn\n"
        "def build(*, classes, channels, width):\n"
        "    conv = nn.Conv2d(channels, width, 3)\n"
        "    return nn.Sequential(conv, nn.Flatten(), nn.Linear(width * 36, classes))\n"
        "def broken(**sizes):\n"
        "    raise RuntimeError('no luck')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    net = build.build_network("my_nets:build", classes=4, channels=3, width=8)
    build.check_logits(net, torch.rand(2, 3, 8, 8), 4)
    with pytest.raises(NetworkError, match="failed to build a network: no luck"):
        build.build_network("my_nets:broken", classes=4, channels=3, width=8)
    with pytest.raises(NetworkError, match="cannot be imported"):
        build.build_network("my_nets:missing", classes=4, channels=3, width=8)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("resnet19", "expected one of"),
        ("no_such_module:build", "cannot be imported"),
        ("math:pi", "a function"),
    ],
)
def test_an_unknown_architecture_is_refused(arch, message):
    with pytest.raises(NetworkError, match=message):
        build.build_network(arch, classes=4, channels=3, width=8)


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda net: torch.jit.trace(net, torch.rand(1, 1, 8, 8)), "body is a .*; return the plain module"),
        (torch.compile, "body is a OptimizedModule, .*; return the plain module"),
        (lambda net: nn.Sequential(nn.DataParallel(net)), "body.0 is a DataParallel, .*; return the plain"),
        (
            lambda net: nn.Sequential(net, nn.LazyLinear(4)),
            "body.1 is a LazyLinear, .*; use the layer of that name without Lazy",
        ),
    ],
    ids=["traced", "compiled", "parallel", "lazy"],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_layers_that_cannot_be_followed_are_refused_by_name(wrap, message, monkeypatch):
    monkeypatch.setitem(build.ARCHITECTURES, "wrapped", lambda **_: wrap(nn.Sequential(nn.Conv2d(1, 4, 3))))
    with pytest.raises(NetworkError, match=message):
        build.build_network("wrapped", classes=4, channels=1, width=8)


class Spectrum(nn.Module):
    """Parameters of five dimensions, and of four whose last one has to lie densely."""

    def __init__(self, **_) -> None:
        super().__init__()
        self.deep = nn.Conv3d(1, 2, 3, padding=1)
        self.filter = nn.Parameter(torch.rand(2, 8, 5, 2))

    def forward(self, x):
        x = self.deep(x[:, None]).squeeze(2)
        x = torch.fft.irfft2(torch.fft.rfft2(x) * torch.view_as_complex(self.filter), s=x.shape[-2:])
        return x.mean((2, 3))


def test_a_network_that_fails_channels_last_is_left_as_it_is(monkeypatch):
    monkeypatch.setitem(build.ARCHITECTURES, "spectrum", Spectrum)
    net = build.build_network("spectrum", classes=2, channels=1, width=8)
    images = torch.rand(2, 1, 8, 8).to(memory_format=torch.channels_last)
    build.choose_memory_format(net, images)
    assert not net.channels_last
    build.check_logits(net, images, 2)


def test_images_that_are_too_small_are_told_before_training():
    net = build.build_network("vgg16", classes=4, channels=3, width=2)
    with pytest.raises(NetworkError, match=r"body\.features\.\d+: the network fails on images"):
        build.check_logits(net, torch.rand(2, 3, 8, 8), 4)
    with pytest.raises(NetworkError, match=r"must give logits \(2, 5\)"):
        build.check_logits(net, torch.rand(2, 3, 32, 32), 5)


def test_shapes_of_another_network_are_refused():
    net = build.build_network("resnet18", classes=4, channels=3, width=8)
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    with pytest.raises(NetworkError, match="differ at"):
        resize.resize_to(net, {**shapes, "extra": (1,)})
    with pytest.raises(NetworkError, match="expected 4 dimensions, got 1"):
        resize.resize_to(net, {**shapes, "body.stem.0.weight": (3,)})


def test_resnet18_for_imagenet_has_the_parameters_of_the_usual_one():
    net = build.build_network("resnet18-imagenet", classes=1000, channels=3, width=64)
    assert sum(parameter.numel() for parameter in net.parameters()) == 11_689_512  # torchvision's


@pytest.mark.parametrize("size", [96, 224])
def test_the_stem_for_imagenet_quarters_large_pictures_before_the_first_block(size):
    net = build.build_network("resnet18-imagenet", classes=5, channels=3, width=8)
    seen = {}
    net.body.stem.register_forward_hook(lambda _m, _i, output: seen.update(stem=output.shape))
    build.check_logits(net, torch.rand(2, 3, size, size), 5)
    assert seen["stem"] == (2, 8, size // 4, size // 4)
