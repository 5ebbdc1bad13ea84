"""The attacks against linear classifiers, where the exact minimal perturbation is known."""

import dataclasses

import pytest
import torch

from eed_edge.attacks.autoattack import APGD, AutoAttack, ShortAPGD, capture_warnings
from eed_edge.attacks.carlini_wagner import CarliniWagner
from eed_edge.attacks.deepfool import DeepFool
from eed_edge.attacks.interface import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.attacks.registry import EVALUATION_ATTACKS
from eed_edge.train.networks import build
from tests.attacks.linear import classifier, exact_l2, exact_linf

SIZE = (1, 6, 6)
INSIDE = 0.3  # images this far from 0 and 1: no attack below meets the edge of the box


LEAST = {PGD(): 0.7, ShortAPGD(): 0.9, CarliniWagner(): 0.9}
"""Untargeted attacks may follow a class that is not the nearest: the share of what is in reach."""


def linear(classes: int, n: int = 40):
    net = classifier(classes, SIZE, seed=1, scale=0.3)
    generator = torch.Generator().manual_seed(2)
    images = INSIDE + (1 - 2 * INSIDE) * torch.rand(n, *SIZE, generator=generator)
    with torch.no_grad():
        return net, images, net(images).argmax(1)


def fooled(net, images, labels):
    with torch.no_grad():
        return net(images).argmax(1) != labels


@pytest.mark.parametrize("attack", [PGD(), CarliniWagner(), ShortAPGD(), APGD()])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_l_inf_attacks_fool_a_linear_classifier_where_the_ball_reaches_over_the_tie(attack, classes):
    net, images, labels = linear(classes)
    distance = exact_linf(net, images, labels)
    eps = distance.quantile(0.6).item()
    attacked = attack(net, images, labels, Threat(eps, seed=0))
    assert (attacked - images).abs().max() <= eps + 1e-6
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    result = fooled(net, attacked, labels)
    assert not result[distance > eps * 1.001].any()
    assert result[distance < eps * 0.97].float().mean() >= LEAST.get(attack, 1.0)


@pytest.mark.parametrize("classes", [2, 5])
def test_autoattack_is_exact_on_a_linear_classifier(classes):
    net, images, labels = linear(classes, n=12)
    distance = exact_linf(net, images, labels)
    eps = distance.quantile(0.6).item()
    attack = AutoAttack(queries=1000)
    result = fooled(net, attack(net, images, labels, Threat(eps, seed=0)), labels)
    assert torch.equal(result, distance < eps)


@pytest.mark.parametrize("classes", [2, 10])
def test_deepfool_fools_a_linear_classifier_just_where_its_l2_ball_reaches(classes):
    net, images, labels = linear(classes)
    distance = exact_l2(net, images, labels)
    radius = distance.quantile(0.6).item()
    threat = Threat(8 / 255 * radius / Threat(8 / 255, 0).radius_l2(images), seed=0)
    attacked = DeepFool()(net, images, labels, threat)
    assert (attacked - images).flatten(1).norm(dim=1).max() <= radius * 1.001
    result = fooled(net, attacked, labels)
    assert not result[distance > radius * 1.001].any()
    assert result[distance < radius * 0.97].all()  # the overshoot of 0.02 takes some of the ball


@pytest.mark.parametrize(
    "attack",
    [*EVALUATION_ATTACKS.values(), APGD()],
)
def test_channels_last_colour_images_through_convolutions_are_attacked_as_any(attack):
    if isinstance(attack, AutoAttack):
        attack = dataclasses.replace(attack, steps=4, queries=20)
    net = build.build_network("resnet18", classes=5, channels=3, width=4).eval()
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        labels = net(images).argmax(1)
    last = images.to(memory_format=torch.channels_last)
    assert not last.is_contiguous()
    attacked = attack(net, last, labels, Threat(0.3, 0))
    assert attacked.shape == images.shape
    assert attacked.isfinite().all()


def test_the_l2_radius_is_the_usual_one_on_cifar10():
    assert Threat(8 / 255, 0).radius_l2(torch.zeros(1, 3, 32, 32)) == pytest.approx(0.5)


def test_the_same_seed_gives_the_same_images_and_the_global_generator_is_left_alone():
    net, images, labels = linear(10)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (ShortAPGD()(net, images, labels, Threat(0.01, seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_autoattacks_own_warnings_are_heard():
    class Masked(torch.nn.Module):
        def forward(self, images):
            return self.net(images).sign() * 5  # no gradient anywhere

    masked = Masked()
    masked.net, images, _ = linear(10, n=6)
    with capture_warnings() as warnings:
        ShortAPGD()(masked, images, masked(images).argmax(1), Threat(0.01, 0))
    assert any("zero gradient" in text for text in warnings)


@pytest.mark.parametrize(
    ("package", "attack"),
    [("pyautoattack", AutoAttack()), ("foolbox.attacks.deepfool", DeepFool())],
)
def test_a_missing_package_is_named(package, attack, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(RuntimeError, match=r"pip install '\.\[attack\]'"):
        attack(*linear(10, n=2), Threat(0.01, 0))
