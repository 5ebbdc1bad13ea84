"""Iterates on an attack's way: whose they are, and that those which fool a defence count."""

from types import SimpleNamespace

import pytest
import torch

from eed_edge.attacks.interface import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.evaluate.adaptive.iterates import IterateRecorder
from eed_edge.evaluate.adaptive.stop_rule import replay_stop_rule
from eed_edge.train.networks.ensemble import Ensemble
from tests.attacks.linear import classifier

SIZE, EPS = (1, 8, 8), 0.01
RULE = SimpleNamespace(rule="confidence", parameters={"threshold": 0.6}, max_submodels=3)


@pytest.fixture
def team() -> Ensemble:
    return Ensemble([classifier(3, SIZE, seed=seed, scale=0.5) for seed in range(3)]).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return 0.2 + 0.6 * torch.rand(30, *SIZE, generator=torch.Generator().manual_seed(0))


def answers(team, images):
    with torch.no_grad():
        probs = team.member_logits(images).softmax(2)
    return {
        "static": probs.mean(0).argmax(1),
        "dynamic": torch.from_numpy(replay_stop_rule(probs.numpy(), RULE).labels),
        "mean-2": probs[:2].mean(0).argmax(1),
    }


def recorder(team, images, labels, target="mean-2"):
    return IterateRecorder(team, RULE, images, labels, eps=EPS, target=target)


def test_the_first_iterate_that_fools_each_defence_is_kept_as_a_plain_loop_keeps_it(team, images):
    labels = answers(team, images)["dynamic"]
    iterates, seen = recorder(team, images, labels), []
    prefix = team.prefix(2)
    prefix.register_forward_hook(lambda _net, inputs, _output: seen.append(inputs[0].detach().clone()))
    with iterates.watching(list(prefix.members)):
        PGD()(prefix, images, labels, Threat(EPS, 0))
    assert len(seen) == 20
    for name in ("static", "dynamic", "mean-2"):
        assert 0 < iterates.fooled[name].sum() < len(images)
        for i in range(len(images)):
            wrong = [batch[i] for batch in seen if answers(team, batch[i : i + 1])[name] != labels[i]]
            assert iterates.fooled[name][i] == bool(wrong)
            torch.testing.assert_close(iterates.iterates[name][i], wrong[0] if wrong else images[i])


def test_rows_may_be_dropped_and_reordered_and_what_lies_in_no_ball_counts_for_none(team, images):
    labels = torch.full((30,), 3)  # so that every iterate fools
    for change, counts in ((0.9, True), (1.1, False)):
        iterates, rows = recorder(team, images, labels, None), torch.tensor([7, 3, 20])
        with iterates.watching(list(team.members)):
            team(images[rows] + change * EPS)
        assert iterates.fooled["dynamic"].nonzero()[:, 0].tolist() == (
            sorted(rows.tolist()) if counts else []
        )
    beyond = torch.ones(1, *SIZE)
    iterates = recorder(team, beyond, labels[:1], None)
    with iterates.watching(list(team.members)):
        team(beyond + EPS / 2)  # no picture
    assert not iterates.fooled["dynamic"].any()


def test_equal_pictures_are_fooled_together_and_nothing_is_recorded_after_the_block(team, images):
    twice, labels = images[:1].repeat(2, 1, 1, 1), torch.full((2,), 3)
    iterates = recorder(team, twice, labels, None)
    team(twice)
    with iterates.watching(list(team.members)):
        team(images[5:])
    team(twice)
    assert not iterates.fooled["dynamic"].any()
    with iterates.watching([team.members[1]]):
        team.members[1](twice[:1])
    assert iterates.fooled["dynamic"].all()


def test_a_watched_attack_returns_what_it_returns_unwatched(team, images):
    labels = answers(team, images)["dynamic"]
    plain = PGD()(team, images, labels, Threat(EPS, 0))
    with recorder(team, images, labels).watching(list(team.members)):
        watched = PGD()(team, images, labels, Threat(EPS, 0))
    assert torch.equal(plain, watched)
