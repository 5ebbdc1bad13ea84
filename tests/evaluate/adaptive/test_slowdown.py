"""The slowdown attack: against a closed form, and what it promises."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eed_edge.attacks.interface import Threat, frozen
from eed_edge.attacks.pgd import PGD
from eed_edge.evaluate.adaptive import slowdown, slowdown_attack
from eed_edge.evaluate.adaptive.stop_rule import replay_stop_rule
from eed_edge.train.data.batches import Images
from eed_edge.train.networks.ensemble import Ensemble
from tests.attacks import linear

SIZE = (3, 4, 4)
RULES = [
    ("confidence", {"threshold": 0.6}),
    ("agreement", {"votes": 2}),
    ("geometric", {"g": 1.0, "k": 1.0}),
]


def gate(rule="confidence", parameters=None, *, members=3):
    return SimpleNamespace(rule=rule, parameters=parameters or {"threshold": 0.6}, max_submodels=members)


@pytest.fixture
def ensemble() -> Ensemble:
    return Ensemble([linear.classifier(4, SIZE, seed=seed, scale=1.5) for seed in range(3)]).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(60, *SIZE, generator=torch.Generator().manual_seed(0))


def used(ensemble, images, rule):
    with torch.no_grad():
        return replay_stop_rule(ensemble.member_logits(images).softmax(2).numpy(), rule).submodels_used


def attack(ensemble, images, rule, *, eps=0.1, seed=0, steps=20, restarts=1):
    generator = torch.Generator().manual_seed(seed)
    return slowdown_attack.slowdown_attack(
        ensemble, images, gate=rule, eps=eps, steps=steps, restarts=restarts, generator=generator
    )


@pytest.mark.parametrize("threshold", [0.7, 0.95])
def test_a_second_member_runs_exactly_where_the_ball_reaches_doubt(threshold):
    """With two classes the first member is sure where its logits differ by the threshold's log-odds."""
    net = linear.classifier(2, SIZE, seed=3)
    images = torch.rand(200, *SIZE, generator=torch.Generator().manual_seed(1)) * 0.3 + 0.35
    labels = net(images).argmax(1)
    with torch.no_grad():
        apart = net(images).diff(dim=1).abs()[:, 0]
        length = float((net[1].weight[0] - net[1].weight[1]).norm(p=1))
    distance = (apart - math.log(threshold / (1 - threshold))).clamp(min=0) / length
    assert labels.unique().tolist() == [0, 1]
    eps = float(distance[distance > 0].median())
    rule = gate(parameters={"threshold": threshold}, members=2)
    attacked = attack(Ensemble([net, net]), images, rule, eps=eps)
    ran = torch.from_numpy(used(Ensemble([net, net]), attacked, rule))
    assert (ran[distance < 0.98 * eps] == 2).all()
    assert (ran[distance > 1.0001 * eps] == 1).all()


@pytest.mark.parametrize(("rule", "parameters"), RULES)
def test_more_members_run_than_on_clean_and_on_pgd_images(ensemble, images, rule, parameters):
    stop = gate(rule, parameters)
    with torch.no_grad():
        labels = ensemble(images).argmax(1)
    pgd = PGD()(ensemble, images, labels, Threat(0.1, 0))
    clean, slowed = used(ensemble, images, stop), used(ensemble, attack(ensemble, images, stop), stop)
    assert (slowed >= clean).all()
    assert slowed.mean() > max(clean.mean(), used(ensemble, pgd, stop).mean()) + 0.1


def descend(ensemble, images, loss, rule, *, steps=20):
    generator = torch.Generator().manual_seed(0)
    with frozen(ensemble):
        return slowdown_attack._descend(
            ensemble, images, loss, gate=rule, eps=0.1, steps=steps, generator=generator
        )


@pytest.mark.parametrize(("rule", "parameters"), RULES)
@pytest.mark.parametrize("which", range(5))
def test_each_loss_alone_makes_more_members_run(ensemble, images, rule, parameters, which):
    stop = gate(rule, parameters)
    reach, loss = slowdown_attack._losses(stop, 3)[which]
    if (rule, reach) == ("agreement", 1):
        pytest.skip("this rule never stops at the first member")
    best, most = descend(ensemble, images, loss, stop)
    np.testing.assert_array_equal(most, used(ensemble, best, stop))
    assert most.float().mean() > used(ensemble, images, stop).mean() + 0.1


@pytest.mark.parametrize(("rule", "parameters"), RULES)
def test_no_image_runs_fewer_members_with_more_starts_and_some_run_more(ensemble, images, rule, parameters):
    stop = gate(rule, parameters)
    once, often = (
        used(ensemble, attack(ensemble, images, stop, eps=0.02, steps=1, restarts=count), stop)
        for count in (1, 8)
    )
    assert (often >= once).all()
    assert often.sum() > once.sum()


def test_the_slowest_image_on_the_way_is_kept_even_where_the_descent_leaves_it(ensemble, images):
    def surer(log_probs, rule):
        return -slowdown_attack._uniform(log_probs, rule)

    start, _ = descend(ensemble, images, surer, gate(), steps=0)
    best, most = descend(ensemble, images, surer, gate())
    assert used(ensemble, start, gate()).max() == 3
    assert (most.numpy() >= used(ensemble, start, gate())).all()
    np.testing.assert_array_equal(most, used(ensemble, best, gate()))


def test_the_clean_image_is_kept_where_nothing_found_runs_more(ensemble, images):
    clean = used(ensemble, images, gate())
    random = attack(ensemble, images, gate(), eps=0.3, steps=0)  # nothing but three random starts
    assert (used(ensemble, random, gate()) >= clean).all()


def test_images_stay_in_the_ball_and_in_the_range_of_pixels(ensemble, images):
    attacked = attack(ensemble, images, gate(), eps=0.05)
    assert (attacked - images).abs().max() <= 0.05 + 1e-6
    assert (attacked - images).abs().max() > 0
    assert attacked.min() >= 0
    assert attacked.max() <= 1


def test_the_seed_decides_and_the_network_is_left_as_it_was(ensemble, images):
    before = {name: tensor.clone() for name, tensor in ensemble.state_dict().items()}
    first, second, other = (attack(ensemble, images, gate(), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert all(torch.equal(tensor, before[name]) for name, tensor in ensemble.state_dict().items())
    assert all(parameter.requires_grad for parameter in ensemble.parameters())


def test_images_that_run_everything_are_left_alone(ensemble, images):
    never = gate(parameters={"threshold": 2.0})
    assert torch.equal(attack(ensemble, images, never), images)
    one = gate(members=1)
    assert torch.equal(attack(ensemble, images, one), images)


def test_figures_are_those_of_the_deployed_rule_and_its_capped_twin(models, images_of_test):
    few = Images(images_of_test.images[:30], images_of_test.labels[:30])
    clean = few.images.float() / 255
    slowed = slowdown_attack.slowdown_images(
        models, few, eps=0.1, restarts=1, seed=0, on_progress=lambda *_: None
    )
    figures = slowdown.measure_slowdown(models, few, clean, slowed, settings={"steps": 20})
    assert figures["settings"] == {"steps": 20, "timed_images": 30}
    answer = models.deployed(clean.numpy())
    uncapped, capped = figures["uncapped"], figures["capped"]
    for name in ("clean", "pgd20"):  # given here as the same images
        assert uncapped[name]["mean"] == answer.submodels_used.mean()
        assert uncapped[name]["accuracy"] == (answer.labels == few.labels.numpy()).mean()
    assert uncapped["slowdown"]["mean"] >= uncapped["clean"]["mean"]
    assert 0 < uncapped["slowdown"]["mean_ms"] <= uncapped["slowdown"]["p99_ms"] * 1.0001
    assert capped["max_submodels"] == 1
    assert {capped[name]["max"] for name in ("clean", "pgd20", "slowdown")} == {1}
    first = models.deployed.member_probs(clean.numpy())[0].argmax(1)
    assert capped["clean"]["accuracy"] == np.mean(first == few.labels.numpy())


def test_without_a_radius_nothing_is_slower(models, images_of_test):
    few = Images(images_of_test.images[:30], images_of_test.labels[:30])
    slowed = slowdown_attack.slowdown_images(
        models, few, eps=0.0, restarts=2, seed=0, on_progress=lambda *_: None
    )
    np.testing.assert_array_equal(slowed.numpy(), few.images.float().numpy() / np.float32(255))
