"""Static, dynamic and adaptive accuracy by their definitions, on images whose fate is known."""

import numpy as np
import pytest
import torch

from eed_edge.evaluate import accuracy, attack_jobs, suites
from eed_edge.evaluate.outcome import Outcome
from eed_edge.report import wilson
from tests.evaluate.quick_suite import attacked


def test_without_an_attack_radius_every_attacked_accuracy_is_the_clean_one(
    models, images_and_labels, tmp_path
):
    todo, outcomes = attacked(models, *images_and_labels, tmp_path, eps=0.0)
    rows = accuracy.accuracies(outcomes, suites.find_suite("quick"), singles=["dense"], members=2)
    for kind in ("pgd20", "apgd", "adaptive"):
        assert rows[kind] == rows["clean"]
    adaptive = accuracy.adaptive_accuracy(outcomes, todo)
    assert adaptive["difference"] == rows["clean"]["dynamic"] - rows["clean"]["static"]


def test_the_rows_are_what_a_plain_count_over_all_attacked_images_gives(
    models, images_and_labels, attacked_outcomes
):
    _, labels = images_and_labels
    suite, outcomes = suites.find_suite("quick"), attacked_outcomes
    todo = attack_jobs.build_jobs(models, suite)
    rows = accuracy.accuracies(outcomes, suite, singles=["dense"], members=2)
    truth = labels.numpy()

    def right(defence: str, names: list[str]) -> float:
        count = 0
        for i in range(len(truth)):
            count += all(outcomes[name].right[defence][i] for name in ["clean on all", *names])
        return count / len(truth)

    pgd, apgd = ([f"{kind} on mean-1", f"{kind} on mean-2"] for kind in ("pgd20", "apgd"))
    assert rows["pgd20"]["dynamic"] == right("dynamic", pgd)
    assert rows["pgd20"]["static"] == right("static", pgd[1:])
    assert rows["apgd"]["dynamic"] == right("dynamic", pgd + apgd)
    assert rows["apgd"]["dense"] == right("dense", ["pgd20 on dense", "apgd on dense"])
    everything = [job.name for job in todo]
    assert rows["adaptive"]["dynamic"] == right("dynamic", everything)
    assert rows["adaptive"]["dynamic"] <= rows["apgd"]["dynamic"] <= rows["pgd20"]["dynamic"]
    low, high = rows["adaptive"]["interval"]["dynamic"]
    assert (low, high) == wilson(round(rows["adaptive"]["dynamic"] * len(truth)), len(truth))
    adaptive = accuracy.adaptive_accuracy(outcomes, todo)
    assert {item["name"] for item in adaptive["items"]} >= {
        "PGD-20 on the mean of the first 1",
        "short APGD on the dense base, transferred",
        "APGD on member 2 alone, transferred",
        "APGD on a smooth stand-in for the gate",
        "reweighted PGD on members by their distance from the tie (after MORA)",
        "rule-aware attack on the deployed rule",
    }
    left = [item["dynamic"] for item in adaptive["items"]]
    assert left == sorted(left, reverse=True)
    assert left[-1] == adaptive["dynamic"]


def test_a_positive_difference_is_warned_of_and_a_deepfool_image_does_not_count_as_inside_the_ball():
    def outcome(static, dynamic):
        right = {"static": np.array(static), "dynamic": np.array(dynamic)}
        nothing = np.zeros((1, 4, 2), np.float32)
        return Outcome(right, np.ones(4, np.int64), np.zeros(4, np.int64), nothing, nothing, 1.0)

    def job(kind, target):
        return attack_jobs.Job(kind, target, lambda *_: None)

    todo = [job("clean", "all"), job("pgd20", "mean-1"), job("deepfool", "mean-1")]
    yes, half = [True] * 4, [True, True, False, False]
    outcomes = {
        "clean on all": outcome(yes, yes),
        "pgd20 on mean-1": outcome(half, [True, True, True, False]),
        "deepfool on mean-1": outcome([False] * 4, [False] * 4),
    }
    adaptive = accuracy.adaptive_accuracy(outcomes, todo)
    assert (adaptive["dynamic"], adaptive["static"], adaptive["difference"]) == (0.75, 0.5, 0.25)
    assert "25.0 points more" in adaptive["warning"]
    outcomes["pgd20 on mean-1"] = outcome(half, half)
    assert accuracy.adaptive_accuracy(outcomes, todo)["warning"] == ""


def test_a_prefix_is_judged_by_its_own_mean_on_images_attacked_against_itself(
    models, images_and_labels, attacked_outcomes
):
    images, labels = images_and_labels
    outcomes = attacked_outcomes
    rows = accuracy.prefix_accuracies(outcomes, suites.find_suite("quick"), labels.numpy(), members=2)
    last = accuracy.accuracies(outcomes, suites.find_suite("quick"), singles=["dense"], members=2)
    for kind in ("clean", "pgd20", "apgd"):
        assert len(rows[kind]["right"]) == 2
        assert rows[kind]["right"][1] == last[kind]["static"]
        assert rows[kind]["interval"][1] == last[kind]["interval"]["static"]
    with torch.no_grad():
        alone = (models.ensemble.members[0](images).argmax(1) == labels).float().mean().item()
    assert rows["clean"]["right"][0] == pytest.approx(alone)
