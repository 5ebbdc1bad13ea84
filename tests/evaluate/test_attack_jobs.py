"""Which images each attack takes, and what is kept of it."""

import dataclasses

import numpy as np
import pytest
import torch

from eed_edge.attacks.interface import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.evaluate import attack_jobs, suites
from eed_edge.evaluate.outcome import Outcome


def test_attacked_images_are_those_that_the_defences_were_judged_on(
    models, images_and_labels, attacked_outcomes
):
    (images, labels), outcomes = images_and_labels, attacked_outcomes
    outcome = outcomes["pgd20 on mean-2"]
    assert np.abs(outcome.images - images.numpy()).max() <= 0.1 + 1e-6
    answer = models.deployed(outcome.images)
    np.testing.assert_array_equal(answer.labels, outcome.answer)
    np.testing.assert_array_equal(answer.submodels_used, outcome.submodels_used)
    clean = outcomes["clean on all"].right
    first = outcomes["clean on all"].prefix_correct(1, labels.numpy())
    untouched = ~(clean["static"] | clean["dynamic"] | first)
    np.testing.assert_array_equal(outcome.images[untouched], images.numpy()[untouched])


def test_an_image_that_only_a_prefix_has_right_is_attacked_there(models):
    labels, wrong = np.zeros(4, np.int64), np.zeros(4, np.bool_)
    probs = np.full((2, 4, 10), 0.1, np.float32)
    probs[0, :2, 0], probs[0, 2:, 1], probs[1, :, 1] = (
        0.8,
        0.8,
        0.9,
    )  # the first member has two images right, the mean of both none
    clean = Outcome(
        {"dense": wrong, "static": wrong, "dynamic": wrong},
        labels,
        labels,
        probs,
        np.zeros(0, np.float32),
        0.0,
    )
    done = {"clean on all": clean}
    by_name = {job.name: job for job in attack_jobs.build_jobs(models, suites.find_suite("quick"))}

    def attacked(name: str) -> list[bool]:
        return attack_jobs._images_to_attack(by_name[name], done, models, labels).tolist()

    assert attacked("pgd20 on mean-1") == [True, True, False, False]
    first = np.array([True, False, False, False])
    done["pgd20 on mean-1"] = dataclasses.replace(clean, right=clean.right | {"mean-1": first})
    assert attacked("apgd on mean-1") == [True, False, False, False]
    assert attacked("apgd on mean-2") == [False] * 4


@pytest.mark.parametrize("other", ["pgd20 on dense", "apgd on dense", "pgd20 on narrow", "apgd on narrow"])
def test_what_is_attacked_on_the_team_does_not_depend_on_other_networks(models, other):
    labels, right = np.zeros(4, np.int64), np.ones(4, np.bool_)
    probs = np.full((2, 4, 10), 0.1, np.float32)
    probs[:, :, 0] = 0.8
    verdicts = {"dense": right, "static": right, "dynamic": right}
    clean = Outcome(verdicts, labels, labels, probs, np.zeros(0, np.float32), 0.0)
    fooled = dataclasses.replace(clean, right=dict.fromkeys(("dense", "static", "dynamic"), ~right))
    by_name = {job.name: job for job in attack_jobs.build_jobs(models, suites.find_suite("quick"))}
    done = {"clean on all": clean, other: fooled}
    for name in ("apgd on mean-1", "apgd on mean-2"):
        assert attack_jobs._images_to_attack(by_name[name], done, models, labels).all()
    if other == "pgd20 on dense":
        assert not attack_jobs._images_to_attack(by_name["apgd on dense"], done, models, labels).any()


@pytest.mark.parametrize("team", ["static", "dynamic"])
def test_the_strongest_attack_on_another_network_has_all_that_the_team_still_has_right(models, team):
    labels, right = np.zeros(4, np.int64), np.ones(4, np.bool_)
    probs = np.full((2, 4, 10), 0.1, np.float32)
    left = {"dense": ~right, "static": ~right, "dynamic": ~right}
    clean = Outcome(left | {team: right}, labels, labels, probs, np.zeros(0, np.float32), 0.0)
    later = np.array([True, False, True, True])
    done = {
        "clean on all": clean,
        "pgd20 on mean-1": dataclasses.replace(clean, right={"static": right, "dynamic": right, team: later}),
    }

    def attacked(suite) -> list[bool]:
        by_name = {job.name: job for job in attack_jobs.build_jobs(models, suite)}
        return attack_jobs._images_to_attack(by_name["apgd on dense"], done, models, labels).tolist()

    assert attacked(suites.find_suite("quick")) == later.tolist()
    assert attacked(suites.find_suite("quick", ["apgd"])) == [False] * 4  # no list, no transfer


def test_an_image_that_fools_the_rule_on_an_attacks_way_counts_whatever_the_attack_returns(
    models, images_and_labels
):
    images = images_and_labels[0][:30]
    labels = torch.from_numpy(models.deployed(images.numpy()).labels)
    members = list(models.ensemble.members)

    def passes_by(images, labels, threat):
        attacked = PGD()(models.ensemble, images, labels, threat)
        with torch.no_grad():
            models.ensemble(attacked)
        return images

    def outcome(networks):
        job = attack_jobs.Job("adaptive", "members", passes_by, networks)
        mask = np.arange(30) % 3 > 0
        return attack_jobs._run(job, models, images, labels, threat=Threat(0.3, 0), mask=mask)

    watched, unwatched = outcome(members), outcome(())
    assert unwatched.right["dynamic"].all()
    assert not watched.right["dynamic"].all()
    assert not watched.right["static"].all()
    assert watched.right["dynamic"][::3].all()  # not attacked
