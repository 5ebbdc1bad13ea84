"""Training, export and evaluation from Python: what the command line makes, and no more."""

import shutil
import subprocess
import sys

import pytest

import eed_edge
from eed_edge.errors import CheckpointError, EedError, InputError
from eed_edge.manifest import parse_manifest
from eed_edge.train.run_folder import open_run
from eed_edge.workflow import train_team as module
from tests.conftest import TINY, Flow


def test_a_finished_training_is_returned_at_once_and_its_export_is_that_of_the_command_line(
    flow: Flow, tmp_path
):
    ended = []
    run = eed_edge.train_team(TINY, run=flow.run, on_stage_end=lambda stage, run: ended.append(stage))
    assert ended == []
    assert run == open_run(flow.run)
    made = eed_edge.export_bundle(run, tmp_path / "bundle", with_dense=True, single_file=True)
    assert made == parse_manifest((flow.bundle / "manifest.json").read_bytes())
    capped = eed_edge.export_bundle(
        str(flow.run), str(tmp_path / "bundle"), max_submodels=1, rule="agreement"
    )
    assert (capped.gate.max_submodels, capped.gate.rule) == (1, "agreement")


def test_an_evaluation_counts_its_steps_and_returns_the_report(flow: Flow, tmp_path):
    steps = []
    report = eed_edge.evaluate_bundle(
        shutil.copytree(flow.run, tmp_path / "run"),
        flow.bundle,
        images=20,
        suite="clean",
        on_progress=lambda *step: steps.append(step),
    )
    assert 0 <= report["accuracy"]["clean"]["dynamic"] <= 1
    assert steps[0] == ("attack", 1, 1)


def test_errors_are_those_of_the_library(flow: Flow, tmp_path):
    with pytest.raises(CheckpointError, match="no run here"):
        eed_edge.export_bundle(tmp_path, tmp_path / "bundle")
    with pytest.raises(InputError, match="suite: expected one of quick"):
        eed_edge.evaluate_bundle(flow.run, flow.bundle, suite="hard")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"until": "pol"}, r"until: expected one of base, .*, got 'pol' \(did you mean 'pool'\?\)"),
        ({"device": "tpu"}, "expected a device, auto, cpu or cuda, got 'tpu'"),
        ({"max_minutes": "1"}, "expected max_minutes, a number from 0 on, got '1'"),
        ({"max_minutes": -1}, "expected max_minutes, a number from 0 on, got -1"),
    ],
)
def test_settings_of_a_training_are_refused_before_the_work(settings, text, tmp_path):
    with pytest.raises(EedError, match=text):
        eed_edge.train_team(TINY, run=tmp_path / "run", **settings)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"golden": "synthetc"}, r"golden: expected one of real, synthetic, .* \(did you mean 'synthetic'"),
        ({"rule": "confident"}, r"rule: expected one of .* \(did you mean 'confidence'\?\)"),
        ({"max_drop": 3}, "expected max_drop, a number from 0 to 1, got 3"),
        ({"max_drop": "a"}, "expected max_drop, a number from 0 to 1, got 'a'"),
        ({"abstain_share": 1.5}, "expected abstain_share, a number from 0 to 1, got 1.5"),
        ({"max_submodels": 0}, "expected max_submodels, a whole number from 1 on, got 0"),
    ],
)
def test_settings_of_an_export_are_refused_before_the_work(settings, text, flow: Flow, tmp_path):
    with pytest.raises(InputError, match=text):
        eed_edge.export_bundle(flow.run, tmp_path / "bundle", **settings)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("images", [0, -3, "3", 1.5])
def test_a_number_of_images_that_is_none_is_refused(images, flow: Flow):
    with pytest.raises(InputError, match="expected images, a whole number from 1 on"):
        eed_edge.evaluate_bundle(flow.run, flow.bundle, images=images)


def test_one_attack_may_be_named_without_a_list(flow: Flow):
    with pytest.raises(InputError, match="only: the suite quick has pgd20, apgd, not 'pgd'"):
        eed_edge.evaluate_bundle(flow.run, flow.bundle, only="pgd")


def test_torch_before_eed_edge_is_warned_of(monkeypatch, caplog, flow: Flow):
    eed_edge.train_team(TINY, run=flow.run)
    assert "torch was imported before" not in caplog.text
    monkeypatch.setattr(eed_edge, "TORCH_CAME_FIRST", True)
    monkeypatch.setattr(module.sys, "platform", "linux")
    eed_edge.train_team(TINY, run=flow.run)
    assert "torch was imported before eed_edge" in caplog.text


def test_which_of_both_came_first_is_known():
    ask = "import sys, types; sys.modules['torch'] = types.ModuleType('torch')"
    for before, answer in (("", "False"), (ask, "True")):
        code = f"import os; os.environ.pop('GOMP_SPINCOUNT', None)\n{before}\nimport eed_edge"
        command = [sys.executable, "-c", f"{code}; print(eed_edge.TORCH_CAME_FIRST)"]
        assert subprocess.check_output(command, text=True).strip() == answer
