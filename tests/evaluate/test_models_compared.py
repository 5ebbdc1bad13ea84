"""Folding batch norm must change no answer, and a network that cannot be traced must come back whole."""

import torch
from torch import Tensor, nn

from eed_edge.evaluate.models_compared import folded
from eed_edge.train.networks import build


class Choosing(nn.Module):
    """Which way it goes depends on the values, so it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images) if images.sum() > 0 else -self.layer(images)


def test_folded_networks_answer_and_steer_attacks_as_before():
    net = build.build_network("resnet18", classes=10, channels=3, width=8)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    folded_net = folded(net)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded_net.modules())
    before, after = net(images), folded_net(images)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    (expected,) = torch.autograd.grad(before.square().sum(), images)
    (got,) = torch.autograd.grad(after.square().sum(), images)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def test_a_convolution_used_twice_keeps_its_weights():
    convolution, norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
    nn.init.constant_(norm.running_var, 4)
    net = nn.Sequential(convolution, norm, convolution).eval()
    images = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(folded(net)(images), net(images))


def test_a_network_that_cannot_be_traced_stays_as_it_is():
    net = Choosing()
    assert folded(net) is net
    assert not net.training
