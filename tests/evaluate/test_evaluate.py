"""The command attack: what it reads, writes, refuses and takes up again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eed_edge.evaluate import attack_jobs
from eed_edge.evaluate.per_image import read_per_image
from eed_edge.report.judged_file import read_judged
from eed_edge.train.data import splits
from tests.conftest import Flow, call, succeed

ONE = ("--images", 20)


@pytest.fixture
def run(flow: Flow, tmp_path) -> Path:
    """A run that no attack has seen."""
    return shutil.copytree(flow.run, tmp_path / "run", ignore=shutil.ignore_patterns("report.json"))


def report_of(run: Path) -> dict:
    return json.loads((run / "report.json").read_text())


def test_a_stopped_attack_goes_on_and_gives_the_same_figures(run, attacked_flow: Flow, monkeypatch):
    real, done, again = attack_jobs._run, [], []

    def killed(job, *arguments, **named):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(job.name)
        return real(job, *arguments, **named)

    def counted(job, *arguments, **named):
        again.append(job.name)
        return real(job, *arguments, **named)

    monkeypatch.setattr(attack_jobs, "_run", killed)
    call("attack", run, attacked_flow.bundle, *ONE)
    (folder,) = run.glob("attack-*")
    assert len(list(folder.rglob("*.npz"))) == 3
    (sorted(folder.rglob("*.npz"))[1]).write_bytes(b"cut in half")
    monkeypatch.setattr(attack_jobs, "_run", counted)
    succeed("attack", run, attacked_flow.bundle, *ONE)
    for part in ("accuracy", "submodels_used"):
        assert report_of(run)[part] == report_of(attacked_flow.run)[part]
    assert done[0] not in again
    assert done[1] in again
    assert not list(run.glob("attack-*"))


@pytest.mark.slow
def test_two_processes_share_the_images_and_find_the_same(flow: Flow, run, tmp_path):
    figures = tmp_path / "figures.json"
    words = ("attack", run, flow.bundle, "--images", 150, "--only", "pgd20", "--json", figures)
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
    command = [str(word) for word in (*launcher, "-m", "eed_edge", *words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COVERAGE_PROCESS_START": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("accuracy %") == 1
    two = json.loads(figures.read_text())["accuracy"]
    succeed(*words)
    assert two == json.loads(figures.read_text())["accuracy"]


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


def test_attacking_changes_neither_the_gate_nor_the_members(flow: Flow, attacked_flow: Flow):
    for before in (*flow.bundle.iterdir(), *(flow.run / "joint").iterdir()):
        folder = attacked_flow.bundle if before.parent == flow.bundle else attacked_flow.run / "joint"
        assert (folder / before.name).read_bytes() == before.read_bytes()
    assert report_of(attacked_flow.run)["accuracy"]["clean"]["images"] == 20


def test_the_report_has_every_part_and_drops_what_was_found_on_other_files(attacked_flow: Flow):
    report = report_of(attacked_flow.run)
    assert report["kept"] == 1
    assert set(report["accuracy"]) == {"clean", "pgd20", "apgd", "adaptive"}
    parts = {"attacks", "adaptive", "slowdown", "replay", "shift", "curves", "commands", "cost", "rd"}
    assert parts <= report.keys()
    assert report["replay"]["disagreements"] == []
    assert report["submodels_used"].keys() == {"clean", "pgd20", "slowdown"}
    with np.load(attacked_flow.run / "evaluation.npz") as arrays:
        assert len(arrays["images"]) == len(arrays["submodels_used"]) == 467  # all, to be timed
        assert arrays["strip_attacked"].dtype == np.float32


def test_a_part_of_the_suite_leaves_what_the_whole_of_it_has_found(attacked_flow: Flow, tmp_path):
    run, bundle = shutil.copytree(attacked_flow.run, tmp_path / "run"), attacked_flow.bundle
    before = report_of(run)
    images = (run / "evaluation.npz").read_bytes()
    succeed("attack", run, bundle, "--images", 30, "--only", "pgd20")
    after = report_of(run)
    assert after["accuracy"]["pgd20"]["images"] == 30
    assert after["paired"]["apgd"] == before["paired"]["apgd"]
    assert [after["paired"][name]["images"] for name in ("clean", "pgd20", "apgd")] == [30, 30, 20]
    attacks = read_per_image(run / "per_image.npz").attacks
    assert set(attacks) == set(after["accuracy"])
    assert set(attacks["apgd"].rows) < set(attacks["pgd20"].rows)
    for name, each in attacks.items():
        shares = {network: float(right.mean()) for network, right in each.right.items()}
        assert shares == {network: after["accuracy"][name][network] for network in shares}
    judged = read_judged(run / "judged.jsonl")
    assert judged[-1]["images"] == {"clean": 30, "pgd20": 30}
    assert judged[-1]["bundle"] == judged[-2]["bundle"]
    assert "judged on test: 1 bundle of this run, in " in call("report", run, bundle).output
    assert after["accuracy"]["apgd"] == before["accuracy"]["apgd"]
    assert (after["prefixes"]["pgd20"]["images"], after["prefixes"]["apgd"]["images"]) == (30, 20)
    for part in ("adaptive", "curves", "suite", "submodels_used"):
        assert after[part] == before[part]
    assert (run / "evaluation.npz").read_bytes() == images
