"""Training attacks on a linear classifier, where the worst image in the ball is known in closed form."""

import pytest
import torch
from torch import Tensor, nn

from eed_edge.attacks.interface import Threat
from eed_edge.attacks.n_fgsm import NFGSM
from eed_edge.attacks.pgd import PGD
from eed_edge.attacks.registry import TRAINING_ATTACKS
from eed_edge.attacks.training_images import make_adversarial
from eed_edge.recipe import Base


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    return torch.rand(6, 3, 4, 4, generator=generator) * 0.4 + 0.3


@pytest.fixture
def labels() -> Tensor:
    return torch.tensor([0, 1, 0, 1, 1, 0])


def linear(generator: torch.Generator) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    net[1].weight.data = torch.randn(2, 48, generator=generator)
    return net


def test_pgd_reaches_the_worst_corner_of_the_ball_of_a_linear_classifier(images, labels, generator):
    net, eps = linear(generator), 0.1
    attacked = PGD()(net, images, labels, Threat(eps, generator=generator))
    towards_other = net[1].weight[1 - labels] - net[1].weight[labels]
    worst = images + eps * towards_other.sign().view_as(images)
    assert torch.allclose(attacked, worst, atol=1e-6)


def test_pgd_stays_in_the_ball_and_in_the_range_of_pixels(labels, generator):
    images = torch.rand(6, 3, 4, 4, generator=generator)
    attacked = PGD(steps=3, step=0.3)(linear(generator), images, labels, Threat(0.2, generator=generator))
    assert (attacked - images).abs().max() <= 0.2 + 1e-6
    assert attacked.min() >= 0
    assert attacked.max() <= 1


def test_n_fgsm_is_noise_plus_one_signed_step_without_projection(images, labels, generator):
    net, eps = linear(generator), 0.05
    state = generator.get_state()
    attacked = NFGSM()(net, images, labels, Threat(eps, generator=generator))
    noise = torch.empty_like(images).uniform_(-2 * eps, 2 * eps, generator=generator.set_state(state))
    towards_other = (net[1].weight[1 - labels] - net[1].weight[labels]).sign().view_as(images)
    assert torch.allclose(attacked, (images + noise + eps * towards_other).clamp(0, 1), atol=1e-6)
    assert (attacked - images).abs().max() > 1.5 * eps


@pytest.mark.parametrize("attack", TRAINING_ATTACKS)
def test_crafting_changes_nothing_in_the_network(attack, images, labels, generator):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)).train()
    net[1].eval()
    net[3].bias.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    make_adversarial(net, images, labels, attack=attack, cfg=Base(steps=2), generator=generator)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert [module.training for module in net] == [True, False, True, True]
    assert [parameter.requires_grad for parameter in net.parameters()] == [True] * 5 + [False]
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.1, 0.4), (0.25, 1.0), (0.9, 1.0)])
@pytest.mark.parametrize("attack", TRAINING_ATTACKS)
def test_the_radius_rises_linearly_during_the_warmup(attack, progress, share, images, labels, generator):
    settings = {"eps_255": 8.0, "step_255": 8.0, "steps": 3}
    rising, full = (
        make_adversarial(
            linear(torch.Generator().manual_seed(1)),
            images,
            labels,
            attack=attack,
            cfg=cfg,
            generator=torch.Generator().manual_seed(2),
            progress=progress,
        )
        for cfg in (Base(eps_warmup=0.25, **settings), Base(**settings))
    )
    assert torch.allclose(rising - images, share * (full - images), atol=1e-6)
