"""Evaluation: the definitions of static, dynamic and adaptive, on images whose fate is known."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import eed_edge
from eed_edge.attacks.interface import Threat
from eed_edge.attacks.pgd import PGD
from eed_edge.evaluate import accuracy, attack_jobs, suites
from eed_edge.evaluate.models_compared import ModelsCompared
from eed_edge.evaluate.outcome import Outcome
from eed_edge.evaluate.per_image import read_per_image
from eed_edge.report import wilson
from eed_edge.report.judged_file import read_judged
from eed_edge.train.data import splits
from eed_edge.train.run_folder import open_run
from tests.conftest import Flow, call

ONE = ("--images", 20)


@pytest.fixture(scope="module")
def models(flow: Flow) -> ModelsCompared:
    run = open_run(flow.run)
    return ModelsCompared({"dense": run.base()}, run.ensemble(), eed_edge.load(flow.bundle))


@pytest.fixture(scope="module")
def images_and_labels(flow: Flow):
    test = splits.splits_for_recipe(open_run(flow.run).recipe, None).test
    images = torch.from_numpy(test.images[:60]).float() / 255
    return images, torch.from_numpy(test.labels[:60])


def attacked(models, images, labels, folder, *, eps: float) -> tuple[list, dict[str, Outcome]]:
    todo = attack_jobs.build_jobs(models, suites.find_suite("quick"))
    outcomes = attack_jobs.run_batch(
        todo, models, images, labels, threat=Threat(eps, 0), folder=folder, step=lambda name: None
    )
    return todo, outcomes


def test_without_an_attack_radius_every_attacked_accuracy_is_the_clean_one(
    models, images_and_labels, tmp_path
):
    todo, outcomes = attacked(models, *images_and_labels, tmp_path, eps=0.0)
    rows = accuracy.accuracies(outcomes, suites.find_suite("quick"), singles=["dense"], members=2)
    for kind in ("pgd20", "apgd", "adaptive"):
        assert rows[kind] == rows["clean"]
    told = accuracy.adaptive_accuracy(outcomes, todo)
    assert told["difference"] == rows["clean"]["dynamic"] - rows["clean"]["static"]


def test_the_rows_are_what_a_plain_count_over_all_attacked_images_gives(models, images_and_labels, tmp_path):
    images, labels = images_and_labels
    todo, outcomes = attacked(models, images, labels, tmp_path, eps=0.1)
    chosen = suites.find_suite("quick")
    rows = accuracy.accuracies(outcomes, chosen, singles=["dense"], members=2)
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
    told = accuracy.adaptive_accuracy(outcomes, todo)
    assert {item["name"] for item in told["items"]} >= {
        "PGD-20 on the mean of the first 1",
        "short APGD on the dense base, transferred",
        "APGD on member 2 alone, transferred",
        "APGD on a smooth stand-in for the gate",
        "reweighted PGD on members by their distance from the tie (after MORA)",
        "rule-aware attack on the deployed rule",
    }
    left = [item["dynamic"] for item in told["items"]]
    assert left == sorted(left, reverse=True)
    assert left[-1] == told["dynamic"]


def test_attacked_images_are_those_that_the_defences_were_judged_on(models, images_and_labels, tmp_path):
    images, labels = images_and_labels
    _, outcomes = attacked(models, images, labels, tmp_path, eps=0.1)
    kept = outcomes["pgd20 on mean-2"]
    assert np.abs(kept.images - images.numpy()).max() <= 0.1 + 1e-6
    answer = models.deployed(kept.images)
    np.testing.assert_array_equal(answer.labels, kept.answer)
    np.testing.assert_array_equal(answer.submodels_used, kept.submodels_used)
    clean = outcomes["clean on all"].right
    first = outcomes["clean on all"].prefix_correct(1, labels.numpy())
    untouched = ~(clean["static"] | clean["dynamic"] | first)
    np.testing.assert_array_equal(kept.images[untouched], images.numpy()[untouched])


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
    told = accuracy.adaptive_accuracy(outcomes, todo)
    assert (told["dynamic"], told["static"], told["difference"]) == (0.75, 0.5, 0.25)
    assert "25.0 points more" in told["warning"]
    outcomes["pgd20 on mean-1"] = outcome(half, half)
    assert accuracy.adaptive_accuracy(outcomes, todo)["warning"] == ""


def test_a_stopped_attack_goes_on_and_gives_the_same_figures(flow: Flow, monkeypatch):
    def figures():
        assert call("attack", flow.run, flow.bundle, *ONE).exit_code == 0
        report = json.loads((flow.run / "report.json").read_text())
        return {part: report[part] for part in ("accuracy", "submodels_used")}

    whole = figures()
    run, done = attack_jobs._run, []

    def killed(job, *arguments, **named):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(job.name)
        return run(job, *arguments, **named)

    monkeypatch.setattr(attack_jobs, "_run", killed)
    call("attack", flow.run, flow.bundle, *ONE)
    (folder,) = flow.run.glob("attack-*")
    assert len(list(folder.rglob("*.npz"))) == 3
    (sorted(folder.rglob("*.npz"))[1]).write_bytes(b"cut in half")

    again = []

    def counted(job, *arguments, **named):
        again.append(job.name)
        return run(job, *arguments, **named)

    monkeypatch.setattr(attack_jobs, "_run", counted)
    assert figures() == whole
    assert done[0] not in again
    assert done[1] in again
    assert not list(flow.run.glob("attack-*"))


@pytest.mark.slow
def test_two_processes_share_the_images_and_find_the_same(flow: Flow, tmp_path):
    def figures(*launcher):
        command = [sys.executable, "-m", *launcher, "eed_edge", "attack", flow.run, flow.bundle]
        command += ["--images", "150", "--only", "pgd20", "--json", tmp_path / "report.json"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COVERAGE_PROCESS_START": ""}
        done = subprocess.run(
            list(map(str, command)), env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("accuracy %") == 1
        return json.loads((tmp_path / "report.json").read_text())["accuracy"]

    two = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
    assert figures(*two) == figures()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--images", 10_000), "at most the 467 test images, got 10000"),
        (("--suite", "strongest"), "expected one of quick, standard, clean, got 'strongest'"),
        (("--only", "pgd21"), "has pgd20, apgd, not 'pgd21'"),
        (("--only", "autoattack"), "the suite quick has pgd20, apgd"),
    ],
)
def test_a_wrong_request_is_one_clear_line(flow: Flow, arguments, message):
    result = call("attack", flow.run, flow.bundle, *arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_the_whole_flow_was_made_without_the_test_part_which_attack_alone_reads(flow: Flow, monkeypatch):
    """That the flow is there is the first half: its fixture raises where anything asks for test."""

    def trap(*_):
        raise AssertionError("read")

    monkeypatch.setattr(splits.Splits, "test", property(trap))
    assert "AssertionError: read" in call("attack", flow.run, flow.bundle, *ONE).output
    monkeypatch.undo()
    monkeypatch.setattr(type(open_run(flow.run)), "calib", trap)
    assert call("attack", flow.run, flow.bundle, *ONE).exit_code == 0


def test_attacking_changes_neither_the_gate_nor_the_members(flow: Flow):
    before = {p: p.read_bytes() for p in [*flow.bundle.iterdir(), *(flow.run / "joint").iterdir()]}
    assert call("attack", flow.run, flow.bundle, *ONE).exit_code == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    assert json.loads((flow.run / "report.json").read_text())["accuracy"]["clean"]["images"] == 20


def test_the_report_has_every_part_and_drops_what_was_found_on_other_files(flow: Flow):
    path = flow.run / "report.json"
    path.write_text(json.dumps({"accuracy": {"cw": {"dense": 1.0}}, "evaluated": "of others", "kept": 1}))
    assert call("attack", flow.run, flow.bundle, *ONE).exit_code == 0
    report = json.loads(path.read_text())
    assert report["kept"] == 1
    assert set(report["accuracy"]) == {"clean", "pgd20", "apgd", "adaptive"}
    parts = {"attacks", "adaptive", "slowdown", "replay", "shift", "curves", "commands", "cost", "rd"}
    assert parts <= report.keys()
    assert report["replay"]["disagreements"] == []
    assert report["submodels_used"].keys() == {"clean", "pgd20", "slowdown"}
    with np.load(flow.run / "evaluation.npz") as arrays:
        assert len(arrays["images"]) == len(arrays["submodels_used"]) == 467  # all, to be timed
        assert arrays["strip_attacked"].dtype == np.float32


def test_a_prefix_is_judged_by_its_own_mean_on_images_attacked_against_itself(
    models, images_and_labels, tmp_path
):
    images, labels = images_and_labels
    _, outcomes = attacked(models, images, labels, tmp_path, eps=0.1)
    rows = accuracy.prefix_accuracies(outcomes, suites.find_suite("quick"), labels.numpy(), members=2)
    last = accuracy.accuracies(outcomes, suites.find_suite("quick"), singles=["dense"], members=2)
    for kind in ("clean", "pgd20", "apgd"):
        assert len(rows[kind]["right"]) == 2
        assert rows[kind]["right"][1] == last[kind]["static"]
        assert rows[kind]["interval"][1] == last[kind]["interval"]["static"]
    with torch.no_grad():
        alone = (models.ensemble.members[0](images).argmax(1) == labels).float().mean().item()
    assert rows["clean"]["right"][0] == pytest.approx(alone)


def test_an_image_that_only_a_prefix_has_right_is_attacked_there(models):
    labels, wrong = np.zeros(4, np.int64), np.zeros(4, np.bool_)
    said = np.full((2, 4, 10), 0.1, np.float32)
    said[0, :2, 0], said[0, 2:, 1], said[1, :, 1] = (
        0.8,
        0.8,
        0.9,
    )  # the first member has two images right, the mean of both none
    clean = Outcome(
        {"dense": wrong, "static": wrong, "dynamic": wrong},
        labels,
        labels,
        said,
        np.zeros(0, np.float32),
        0.0,
    )
    done = {"clean on all": clean}
    by_name = {job.name: job for job in attack_jobs.build_jobs(models, suites.find_suite("quick"))}

    def wanted(name: str) -> list[bool]:
        return attack_jobs._images_to_attack(by_name[name], done, models, labels).tolist()

    assert wanted("pgd20 on mean-1") == [True, True, False, False]
    first = np.array([True, False, False, False])
    done["pgd20 on mean-1"] = dataclasses.replace(clean, right=clean.right | {"mean-1": first})
    assert wanted("apgd on mean-1") == [True, False, False, False]
    assert wanted("apgd on mean-2") == [False] * 4


@pytest.mark.parametrize("other", ["pgd20 on dense", "apgd on dense", "pgd20 on narrow", "apgd on narrow"])
def test_what_is_attacked_on_the_team_does_not_depend_on_other_networks(models, other):
    labels, right = np.zeros(4, np.int64), np.ones(4, np.bool_)
    said = np.full((2, 4, 10), 0.1, np.float32)
    said[:, :, 0] = 0.8
    verdicts = {"dense": right, "static": right, "dynamic": right}
    clean = Outcome(verdicts, labels, labels, said, np.zeros(0, np.float32), 0.0)
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
    said = np.full((2, 4, 10), 0.1, np.float32)
    left = {"dense": ~right, "static": ~right, "dynamic": ~right}
    clean = Outcome(left | {team: right}, labels, labels, said, np.zeros(0, np.float32), 0.0)
    later = np.array([True, False, True, True])
    done = {
        "clean on all": clean,
        "pgd20 on mean-1": dataclasses.replace(clean, right={"static": right, "dynamic": right, team: later}),
    }

    def wanted(chosen) -> list[bool]:
        by_name = {job.name: job for job in attack_jobs.build_jobs(models, chosen)}
        return attack_jobs._images_to_attack(by_name["apgd on dense"], done, models, labels).tolist()

    assert wanted(suites.find_suite("quick")) == later.tolist()
    assert wanted(suites.find_suite("quick", ["apgd"])) == [False] * 4  # no list, no transfer


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
        wanted = np.arange(30) % 3 > 0
        return attack_jobs._run(job, models, images, labels, threat=Threat(0.3, 0), mask=wanted)

    watched, unwatched = outcome(members), outcome(())
    assert unwatched.right["dynamic"].all()
    assert not watched.right["dynamic"].all()
    assert not watched.right["static"].all()
    assert watched.right["dynamic"][::3].all()  # not attacked


def test_a_part_of_the_suite_leaves_what_the_whole_of_it_has_found(flow: Flow):
    assert call("attack", flow.run, flow.bundle, *ONE).exit_code == 0
    before = json.loads((flow.run / "report.json").read_text())
    images = (flow.run / "evaluation.npz").read_bytes()
    assert call("attack", flow.run, flow.bundle, "--images", 30, "--only", "pgd20").exit_code == 0
    after = json.loads((flow.run / "report.json").read_text())
    assert after["accuracy"]["pgd20"]["images"] == 30
    assert after["paired"]["apgd"] == before["paired"]["apgd"]
    assert [after["paired"][name]["images"] for name in ("clean", "pgd20", "apgd")] == [30, 30, 20]
    attacks = read_per_image(flow.run / "per_image.npz").attacks
    assert set(attacks) == set(after["accuracy"])
    assert set(attacks["apgd"].rows) < set(attacks["pgd20"].rows)
    for name, each in attacks.items():
        shares = {network: float(right.mean()) for network, right in each.right.items()}
        assert shares == {network: after["accuracy"][name][network] for network in shares}
    judged = read_judged(flow.run / "judged.jsonl")
    assert judged[-1]["images"] == {"clean": 30, "pgd20": 30}
    assert judged[-1]["bundle"] == judged[-2]["bundle"]
    assert "judged on test: 1 bundle of this run, in " in call("report", flow.run, flow.bundle).output
    assert after["accuracy"]["apgd"] == before["accuracy"]["apgd"]
    assert (after["prefixes"]["pgd20"]["images"], after["prefixes"]["apgd"]["images"]) == (30, 20)
    for part in ("adaptive", "curves", "suite", "submodels_used"):
        assert after[part] == before[part]
    assert (flow.run / "evaluation.npz").read_bytes() == images
