import pytest
import torch

from eed_edge.attacks.interface import Threat
from eed_edge.recipe import Joint
from eed_edge.train.attacked_accuracy import correct_under_attack
from eed_edge.train.data.batches import Images
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.system.epoch_choice import selection_score
from eed_edge.train.validation import validate
from tests.attacks import linear

SIZE = (1, 4, 4)


def middling(net, count=120, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, *SIZE, generator=generator) * 0.3 + 0.35
    return images, net(images).argmax(1)


def test_the_margin_fells_what_a_saturated_cross_entropy_cannot_see():
    net = linear.classifier(2, SIZE, seed=0, scale=1e4)  # probabilities of exactly 1: no gradient
    images, labels = middling(net)
    distance = linear.exact_linf(net, images, labels)
    eps = float(distance.median())

    def correct(margin):
        return correct_under_attack(net, images, labels, Threat(eps, 3), steps=10, margin=margin)

    beyond, tie = distance > eps, (distance / eps - 1).abs() < 1e-4  # the median itself is one
    assert torch.equal(correct(True)[~tie], beyond[~tie])
    assert correct(False).sum() > beyond.sum() + 20


def test_an_ensemble_is_judged_by_its_first_member_and_its_mean():
    nets = [linear.classifier(2, SIZE, seed=seed, scale=5) for seed in (1, 2)]
    images, labels = middling(nets[0])
    pixels = Images((images * 255).round().to(torch.uint8), labels)
    images = pixels.images / 255
    eps = float(linear.exact_linf(nets[0], images, labels).median())
    cfg = Joint(eps_255=255 * eps, judge_steps=10)
    alone = linear.exact_linf(nets[0], images, labels) > eps
    row = validate(Ensemble(nets), pixels, cfg=cfg, seed=0).as_row()
    assert row["attacked_first"] == pytest.approx(float(alone.float().mean()), abs=0.01)
    assert row["attacked"] != row["attacked_first"]
    assert selection_score(row) == pytest.approx(
        (row["attacked"] + row["attacked_first"]) / 2 + 0.25 * row["clean"]
    )
    one = validate(nets[0], pixels, cfg=cfg, seed=0)
    assert one.attacked_first is None
    assert "attacked_first" not in one.as_row()
