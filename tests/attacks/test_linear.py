"""PGD against closed forms: on a linear classifier the least distance to another answer is known."""

import pytest
import torch

from eed_edge.attacks.interface import Threat
from eed_edge.attacks.pgd import PGD
from tests.attacks import linear

SIZE = (3, 4, 4)


def middling_images(count: int, seed: int) -> torch.Tensor:
    """Images so far from 0 and 1 that the box does not matter for the radii used here."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, *SIZE, generator=generator) * 0.3 + 0.35


@pytest.mark.parametrize(("classes", "margin"), [(2, 0.01), (3, 0.1), (5, 0.1), (10, 0.25)])
@pytest.mark.parametrize("seed", range(3))
def test_pgd_succeeds_exactly_where_the_ball_reaches_another_class(classes, margin, seed):
    # With more than two classes the gradient aims at a mix of them; a steep network makes it one.
    net = linear.classifier(classes, SIZE, seed=seed, scale=1 if classes == 2 else 20)
    images = middling_images(200, seed)
    labels = net(images).argmax(1)
    distance = linear.exact_linf(net, images, labels)
    eps = float(distance.median())
    assert 0.003 < eps < 0.3
    attacked = PGD()(net, images, labels, Threat(eps, seed))
    fooled = net(attacked).argmax(1) != labels
    within, beyond = distance < eps * (1 - margin), distance > eps * (1 + 1e-4)
    assert within.sum() > 50
    assert fooled[within].all()
    assert not fooled[beyond].any()


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("order", ["inf", "2"])
def test_the_closed_forms_are_met_by_the_step_that_they_come_from(classes, order):
    net = linear.classifier(classes, SIZE, seed=7)
    images = middling_images(50, 7)
    labels = net(images).argmax(1)
    weight = net[1].weight
    exact = (linear.exact_linf if order == "inf" else linear.exact_l2)(net, images, labels)
    for factor, crossed in ((0.999, False), (1.001, True)):
        changed = torch.zeros(len(images), dtype=torch.bool)
        for other in range(classes):
            towards = (weight[other] - weight[labels]).view_as(images)
            unit = (
                towards.sign()
                if order == "inf"
                else towards / towards.flatten(1).norm(dim=1)[:, None, None, None]
            )
            moved = images + factor * exact[:, None, None, None] * unit.nan_to_num()
            changed |= net(moved).argmax(1) != labels
        assert (changed == crossed).all()


def test_a_wrong_answer_is_at_distance_zero():
    net = linear.classifier(3, SIZE, seed=1)
    images = middling_images(10, 1)
    wrong = (net(images).argmax(1) + 1) % 3
    assert linear.exact_linf(net, images, wrong).tolist() == [0] * 10
    assert linear.exact_l2(net, images, wrong).tolist() == [0] * 10
