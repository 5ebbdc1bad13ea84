"""What every attack in the registries must keep to, on networks whose worst case is known."""

import dataclasses
import typing

import pytest
import torch
from torch import nn

from eed_edge.attacks.autoattack import APGD, AutoAttack
from eed_edge.attacks.interface import Attack, Threat
from eed_edge.attacks.registry import EVALUATION_ATTACKS, TRAINING_ATTACKS
from eed_edge.errors import AttackError
from eed_edge.evaluate.adaptive.mora import Mora
from eed_edge.recipe import Base
from eed_edge.report.names import ATTACKS, NOT_IN_SUITES
from tests.attacks.linear import classifier, exact_l2, exact_linf

SIZE = (1, 5, 5)
N = 12


@dataclasses.dataclass(frozen=True)
class Case:
    """The attack's settings in reports, and what it must reach on a linear classifier of five classes.

    least: share of the images in reach that it must turn; an untargeted gradient may follow a far class.
    reach: how far its results may lie from the clean images, in multiples of the radius.
    """

    settings: str
    least: float
    reach: float = 1.0


CASES = {
    "pgd20": Case("PGD, cross-entropy, 20 steps of eps/4, one random start", 0.7),
    "apgd": Case("APGD-DLR, 10 iterations: a quick look, not a claim", 0.7),
    "autoattack": Case(
        "AutoAttack standard (APGD-CE, APGD-T, FAB-T, Square 5000 queries), pyautoattack", 1.0
    ),
    "cw": Case("C&W l_inf: margin loss inside PGD, 100 steps of eps/10, one random start", 0.9),
    "deepfool": Case("DeepFool l_2, 50 steps, radius 0.5 at eps 8/255 and 3x32x32, foolbox", 0.9),
    "n-fgsm": Case("N-FGSM: one step of eps from noise in +-2 eps, not projected", 0.5, reach=3.0),
    "pgd": Case("PGD, cross-entropy, 10 steps of 2/255, one random start", 0.7),
    "none": Case("no attack: clean images", 0.0),
}
"""A row for every attack of both registries; ``none`` is the identity, which turns nothing."""


def attack_named(name: str) -> Attack:
    if name in TRAINING_ATTACKS:
        return TRAINING_ATTACKS[name].from_recipe(Base(steps=20, step_255=4))
    attack = EVALUATION_ATTACKS[name]
    return dataclasses.replace(attack, steps=20, queries=200) if isinstance(attack, AutoAttack) else attack


def problem():
    """A linear classifier, images far from the edges of [0, 1], and the labels that it gives them."""
    net = classifier(5, SIZE, seed=1, scale=0.3)
    images = 0.3 + 0.4 * torch.rand(N, *SIZE, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return net, images, net(images).argmax(1)


def threat_of(attack: Attack, share: float):
    """A radius within which this share of the images can be turned, and each image's distance in radii."""
    net, images, labels = problem()
    if attack.norm == "l_2":
        distance = exact_l2(net, images, labels)
        radius = distance.quantile(share).item()
        return Threat(radius / Threat(1.0).radius_l2(images), seed=0), distance / radius
    distance = exact_linf(net, images, labels)
    radius = distance.quantile(share).item()
    return Threat(radius, seed=0), distance / radius


def test_every_registered_attack_has_a_row_here():
    assert set(CASES) == {*EVALUATION_ATTACKS, *TRAINING_ATTACKS}


def test_every_attack_of_an_evaluation_has_a_title():
    assert set(EVALUATION_ATTACKS) == set(ATTACKS) - set(NOT_IN_SUITES)


@pytest.mark.parametrize("name", CASES)
def test_it_turns_what_its_ball_reaches_and_nothing_beyond_it(name):
    attack, case = attack_named(name), CASES[name]
    net, images, labels = problem()
    threat, distance = threat_of(attack, 0.6)
    fooled = net(attack(net, images, labels, threat)).argmax(1) != labels
    assert not fooled[distance > case.reach * 1.001].any()
    assert fooled[distance < 0.97].float().mean() >= case.least


@pytest.mark.parametrize("name", CASES)
def test_it_stays_in_its_ball_and_in_the_range_of_pixels(name):
    attack, case = attack_named(name), CASES[name]
    net, _, labels = problem()
    images = torch.rand(N, *SIZE, generator=torch.Generator().manual_seed(3))
    threat, _ = threat_of(attack, 0.6)
    attacked = attack(net, images, labels, threat)
    assert attacked.shape == images.shape
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    change = (attacked - images).flatten(1)
    if attack.norm == "l_2":
        assert change.norm(dim=1).max() <= threat.radius_l2(images) * 1.001
    else:
        assert change.abs().max() <= case.reach * threat.eps + 1e-6


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_gives_the_same_images_and_global_random_numbers_are_left_alone(name):
    attack, (net, images, labels) = attack_named(name), problem()
    threat, _ = threat_of(attack, 0.6)
    before = torch.random.get_rng_state()
    first, again = (attack(net, images, labels, threat) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", [name for name in CASES if attack_named(name).per_image])
def test_an_image_is_attacked_the_same_whatever_else_is_in_the_batch(name):
    attack, (net, images, labels) = attack_named(name), problem()
    threat, _ = threat_of(attack, 0.6)
    others = torch.cat([images[:1], images[1:].flip(0)])
    other_labels = torch.cat([labels[:1], labels[1:].flip(0)])
    together = attack(net, images, labels, threat)[0]
    torch.testing.assert_close(together, attack(net, others, other_labels, threat)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_it_changes_nothing_in_the_network(name):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 5)).train()
    net[1].eval()
    net[3].bias.requires_grad_(False)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    _, images, labels = problem()
    attack_named(name)(net, images[:3], labels[:3], Threat(0.01, seed=0))
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())
    assert [module.training for module in net] == [True, False, True, True]
    assert [parameter.requires_grad for parameter in net.parameters()] == [True] * 5 + [False]
    assert all(parameter.grad is None for parameter in net.parameters())


class Returns(Attack):
    """An attack that returns the clean images changed by a given function."""

    def __init__(self, change: typing.Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.change = change

    @property
    def description(self) -> str:
        return "none"

    def run(self, model, images, labels, threat):
        return self.change(images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda images: images * torch.nan,
            r"expected finite images \(12, 1, 5, 5\), got .* with 300 values",
        ),
        (lambda images: images[:1], r"expected finite images \(12, 1, 5, 5\), got \(1, 1, 5, 5\)"),
        (lambda images: images - 1, r"expected images in \[0, 1\], got -0"),
        (lambda images: images + 0.02, r"within l_inf distance 0.01, got 0.02"),
    ],
)
def test_a_result_that_breaks_the_promise_is_an_error(change, message):
    with pytest.raises(AttackError, match=message):
        Returns(change)(*problem(), Threat(0.01))


def test_an_l2_attack_is_held_to_its_l2_ball():
    class L2(Returns):
        norm = "l_2"

    net, images, labels = problem()
    threat = Threat(0.01)
    shift = threat.radius_l2(images) / 5  # of each of the 25 values
    L2(lambda images: images + 0.9 * shift)(net, images, labels, threat)
    with pytest.raises(AttackError, match="within l_2 distance"):
        L2(lambda images: images + 1.1 * shift)(net, images, labels, threat)


def test_the_settings_are_those_that_reports_have():
    trained = {name: attack.from_recipe(Base()) for name, attack in TRAINING_ATTACKS.items()}
    attacks = {**EVALUATION_ATTACKS, **trained}
    assert {name: attack.description for name, attack in attacks.items()} == {
        name: case.settings for name, case in CASES.items()
    }
    assert APGD().description == "APGD-CE and APGD-T, 100 iterations"
    assert Mora().description == "reweighted PGD on the members, 100 steps"


def test_reweighted_pgd_needs_an_ensemble():
    with pytest.raises(TypeError, match="expected an Ensemble, got Sequential"):
        Mora()(*problem(), Threat(0.01))
