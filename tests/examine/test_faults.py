"""Faults of networks: each is said before training, in a line with layer and remedy; the remedy works."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eed_edge import recipe
from eed_edge.examine import answers, examination, examine, examine_before_training
from eed_edge.train.networks import build
from tests.examine.coverage import between, conv_norm
from tests.examine.subjects import CLASSES, RECIPE, examined, few


class Block(nn.Module):
    """A block of one convolution; ``fault`` says what is wrong with it, and "" that nothing is."""

    def __init__(self, width: int, fault: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width, track_running_stats=fault != "statistics")
        self.fault = fault
        if fault == "frozen":
            self.requires_grad_(False)
        if fault == "old weight norm":
            nn.utils.weight_norm(self.conv)
        if fault == "new weight norm":
            nn.utils.parametrizations.weight_norm(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(x)))
        if self.fault == "dropout":
            x = F.dropout(x, 0.5)
        if self.fault == "dropout in training":
            x = F.dropout(x, 0.5, self.training)
        if self.fault == "noise":
            x = x + torch.randn_like(x)
        if self.fault == "noise in training" and self.training:
            x = x + torch.randn_like(x)
        if self.fault == "drop path" or (self.fault == "drop path in training" and self.training):
            x = x * (torch.rand(x.shape[0], 1, 1, 1) > 0.05)
        if self.fault == "batch mean":
            x = x - x.mean(0, keepdim=True)
        if self.fault == "image mean":
            x = x - x.mean((1, 2, 3), keepdim=True)
        if self.fault == "in place":
            x = x.exp()
            x[:, 0] = 0
        if self.fault == "where in place":
            x = torch.where(torch.arange(x.shape[1])[:, None, None] > 0, x.exp(), 0)
        if self.fault == "branch" and x.mean() > 0.1:
            x = 2 * x
        if self.fault == "where":
            x = torch.where(x.mean((1, 2, 3), keepdim=True) > 0.1, 2 * x, x)
        if self.fault == "counter":
            self.calls = getattr(self, "calls", 0) + 1
            x = x + self.calls
        if self.fault == "rounded":
            x = torch.round(8 * x) / 8
        if self.fault == "rounded straight through":
            x = x + (torch.round(8 * x) / 8 - x).detach()
        if self.fault == "no gradients":
            x = x.detach()
        if self.fault == "operator":
            x = torch.fft.irfft(torch.fft.rfft(x), n=x.shape[-1])
        if self.fault == "precision":
            x = x.to(torch.bfloat16).float()
        if self.fault == "groups":
            kernels = self.conv.weight * x.mean((1, 2, 3)).view(-1, 1, 1, 1, 1)
            x = F.conv2d(x.flatten(0, 1)[None], kernels.flatten(0, 1), padding=1, groups=x.shape[0]).view_as(
                x
            )
        if self.fault == "len":
            x = x + torch.zeros(len(x), 1, 1, 1)
        if self.fault == "shape":
            x = x + torch.zeros(x.shape[0], 1, 1, 1)
        return x


class Body(nn.Module):
    """A network whose end is at fault."""

    def __init__(self, fault: str, width: int = 32) -> None:
        super().__init__()
        self.net = between(Block(width, ""), classes=CLASSES, channels=1, width=width)
        self.last = nn.Softmax(1)
        self.head = nn.Linear(CLASSES, CLASSES)
        self.scale = [1.0]
        self.fault = fault

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...] | dict[str, Tensor]:
        logits = self.net(x)
        ends = {
            "softmax": lambda: self.last(logits),
            "functional softmax": lambda: logits.softmax(1),
            "softmax by hand": lambda: logits.exp() / logits.exp().sum(1, keepdim=True),
            "sigmoid": lambda: torch.sigmoid(logits)[:, :],
            "tuple": lambda: (logits.softmax(1), logits),
            "dict": lambda: {"logits": logits},
            "squeeze": lambda: logits.unsqueeze(2).squeeze(),
            "squeeze by dimension": lambda: logits.unsqueeze(2).squeeze(2),
            "auxiliary": lambda: (logits, self.head(logits)) if self.training else logits,
            "log softmax": lambda: logits.log_softmax(1),
            "tuple of lists": lambda: [logits],
            "nan": lambda: logits / 0.0 - logits / 0.0,
        }
        return ends[self.fault]() if self.fault in ends else logits


class Softmax(Body):
    """A network that ends in softmax, as an architecture of the registry."""

    def __init__(self, *, classes: int, channels: int, width: int) -> None:
        super().__init__("softmax", width)


BLOCKS = [
    ("statistics", "body.1.0.norm: the answer to an image depends on .* track_running_stats=True", ""),
    ("dropout", r"body.1.0: two runs .* differ in evaluation mode; .* self.training", "dropout in training"),
    ("noise", "body.1.0: two runs on the same images differ", "noise in training"),
    ("drop path", "body.1.0: two runs on the same images differ", "drop path in training"),
    ("batch mean", "body.1.0: the answer to an image depends on .* never over dimension 0", "image mean"),
    ("in place", "body.1.0: no gradient can be computed: .* torch.where", "where in place"),
    ("counter", "body.1.0: two runs .* differ .*; let forward change no buffer and no attribute", ""),
    ("rounded", "body.1.0: no gradient passes .* no_grad, detach, round", "rounded straight through"),
    ("no gradients", "body.1.0: no gradient passes through it to the images", "frozen"),
    ("old weight norm", "body.1.0.conv: a hook computes its weight, .*parametrizations", "new weight norm"),
    ("branch", r"body.1.0: torch cannot export|depends on the other images", "where"),
    ("operator", "body.1.0: a bundle cannot hold its ONNX form: .*'DFT'.* other operations", ""),
    ("groups", "body.1.0: torch cannot export the network to ONNX: .*; use plain modules", ""),
    ("precision", "body.1.0: a bundle cannot hold its ONNX form: .*Cast.to", ""),
    ("len", r"x.shape\[0\], not from len\(x\)", "shape"),
]  # fmt: skip
ENDS = [
    ("softmax", r"body.last: the network ends in softmax, .* remove the softmax", ""),
    ("functional softmax", "body: the network ends in softmax", ""),
    ("softmax by hand", "ends in softmax", ""),
    ("sigmoid", "ends in sigmoid", ""),
    ("tuple", "got a tuple; return the logits alone", ""),
    ("tuple of lists", "got a list; return the logits alone", ""),
    ("dict", "got a dict; return the logits alone", ""),
    (
        "squeeze",
        r"for 1 image, got \(4,\); use flatten\(1\), or squeeze with the dim",
        "squeeze by dimension",
    ),
    ("auxiliary", "in training mode, too, got a tuple; .* switch auxiliary heads off", ""),
    ("nan", "the network's logits are not finite", "log softmax"),
]


def block_network(fault):
    def make(*, classes, channels, width):
        block = nn.Sequential(Block(width, fault), conv_norm(width, 2 * width), conv_norm(2 * width, width))
        return between(block, classes=classes, channels=channels, width=width)

    return make


def check(make, remedied, message, monkeypatch) -> None:
    (fault,) = examined(make, monkeypatch).faults
    assert "\n" not in fault
    with pytest.raises(Exception, match=message):
        raise ValueError(fault)
    assert examined(remedied, monkeypatch).faults == ()


@pytest.mark.parametrize(("fault", "message", "remedy"), BLOCKS)
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
def test_a_fault_inside_names_its_layer_and_the_remedy_works(fault, message, remedy, monkeypatch):
    if fault not in ("branch", "operator", "precision", "groups", "len"):
        monkeypatch.setattr(examination, "onnx_faults", lambda *_, **__: [])
    check(block_network(fault), block_network(remedy), message, monkeypatch)


@pytest.mark.parametrize(("fault", "message", "remedy"), ENDS)
def test_a_fault_at_the_end_is_said_and_the_remedy_works(fault, message, remedy, monkeypatch):
    monkeypatch.setattr(examination, "onnx_faults", lambda *_, **__: [])
    check(lambda **_: Body(fault), lambda **_: Body(remedy), message, monkeypatch)


def test_a_network_that_is_built_differently_every_time_is_refused(monkeypatch):
    kinds = itertools.cycle(["", "new weight norm"])

    def make(*, classes, channels, width):
        return between(Block(width, next(kinds)), classes=classes, channels=channels, width=width)

    (fault,) = examined(make, monkeypatch).faults
    assert "differ at 'body.1.conv" in fault


def test_the_share_and_the_sparsity_that_a_message_names_fit(monkeypatch):
    strict = recipe.from_dict({"prune": {"member_share": 0.01, "sparsity": 0.9}})
    monkeypatch.setattr(examination, "onnx_faults", lambda *_, **__: [])
    (fault,) = examined(block_network(""), monkeypatch, cfg=strict).faults
    words = fault.split()
    share = float(words[words.index("prune.member_share") + 2])
    sparsity = float(words[words.index("prune.sparsity") + 2])
    fitting = recipe.from_dict({"prune": {"member_share": share, "sparsity": sparsity}})
    assert examined(block_network(""), monkeypatch, cfg=fitting).faults == ()


def test_ordinary_logits_are_never_taken_for_probabilities():
    for seed in range(20):
        torch.manual_seed(seed)
        net = between(Block(8, ""), classes=2, channels=1, width=8)
        assert answers.answer_faults(net, torch.rand(3, 1, 8, 8), 2) == []


def test_an_examination_changes_neither_the_network_nor_the_random_numbers(monkeypatch):
    monkeypatch.setitem(build.ARCHITECTURES, "under-test", block_network("dropout in training"))
    net = build.build_network("under-test", classes=CLASSES, channels=1, width=32)
    weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.get_rng_state()
    monkeypatch.setattr(examination, "onnx_faults", lambda *_, **__: [])
    examine(net, few(), RECIPE)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in net.state_dict().items())


def test_before_training_a_network_from_elsewhere_is_examined_whole_and_a_known_one_only_pruned(monkeypatch):
    monkeypatch.setitem(build.ARCHITECTURES, "softmax", Softmax)
    known = build.build_network("softmax", classes=CLASSES, channels=1, width=32)
    assert examine_before_training(known, few(), RECIPE).faults == ()
    assert examine(known, few(), RECIPE).faults != ()
    monkeypatch.delitem(build.ARCHITECTURES, "softmax")
    assert examine_before_training(known, few(), RECIPE) == examine(known, few(), RECIPE)
