"""What a training is judged by: under attack, or on clean images where it has none."""

import pytest
import torch

from eed_edge.recipe import Joint
from eed_edge.train.data.batches import Images, images_at_once
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.system.epoch_choice import best_epoch, has_collapsed, selection_score
from eed_edge.train.validation import validate
from tests.attacks.linear import classifier

SHAPE = (1, 5, 5)


def tune_of(n=60):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, *SHAPE), generator=generator, dtype=torch.uint8)
    return Images(images, torch.randint(0, 3, (n,), generator=generator))


def test_without_attacks_the_mean_and_the_first_member_are_judged_on_clean_images():
    members = [classifier(3, SHAPE, seed=seed, scale=0.3) for seed in (1, 2)]
    tune, team = tune_of(), Ensemble(members)
    row = validate(team, tune, cfg=Joint(attack="none"), seed=0).as_row()
    pixels = tune.images.float() / 255
    with torch.no_grad():
        mean = torch.stack([net(pixels).softmax(1) for net in members]).mean(0).argmax(1)
        first = members[0](pixels).argmax(1)
    expected = [(answer == tune.labels).double().mean().item() for answer in (mean, first)]
    assert [row["clean"], row["clean_first"]] == pytest.approx(expected, abs=1e-6)
    assert set(row) == {"clean", "clean_first"}
    assert selection_score(row) == pytest.approx(sum(expected) / 2, abs=1e-6)
    assert set(validate(team, tune, cfg=Joint(attack="none", finish_epochs=1), seed=0).as_row()) == {
        "clean",
        "attacked",
        "attacked_first",
    }


def test_a_clean_epoch_is_no_collapse_whatever_its_attacked_accuracy():
    good = {"attack": "pgd", "clean": 0.8, "attacked": 0.6}
    for attack, fallen in (("none", False), ("n-fgsm", True)):
        row = {"attack": attack, "clean": 0.9, "attacked": 0.0}
        assert has_collapsed(row, [good], Joint(), chance=0.1) == fallen


@pytest.mark.parametrize(("side", "most"), [(8, 500), (32, 500), (96, 55), (224, 10), (4096, 1)])
def test_larger_pictures_go_through_a_network_in_smaller_batches(side, most):
    assert images_at_once(torch.empty(0, 3, side, side), 500) == most


@pytest.mark.parametrize(
    ("clean", "best"),
    [([0.2, 0.994, 0.988, 0.988], 3), ([0.2, 0.994, 0.98], 1), ([0.5], 0), ([0.9, 0.95, 0.945, 0.93], 2)],
)
def test_without_attacks_the_last_epoch_close_to_the_best_is_kept(clean, best):
    assert best_epoch([{"clean": share} for share in clean]) == best


def test_an_epoch_whose_weights_were_thrown_away_is_never_the_best():
    rows = [
        {"clean": 0.25, "attacked": 0.155},
        {"clean": 0.9, "attacked": 0.0, "guard": "collapsed"},
        {"clean": 0.25, "attacked": 0.15},
    ]
    assert best_epoch(rows) == 0
    collapsing = {"attack": "n-fgsm", "clean": 0.9, "attacked": 0.01}
    assert has_collapsed(collapsing, rows, Joint(), chance=0.1)


def test_under_attack_the_first_of_the_best_epochs_is_kept():
    assert best_epoch([{"clean": 0.9, "attacked": share} for share in (0.1, 0.4, 0.4, 0.39)]) == 1
