"""benchmarks/second_attack.py: what the list has left is attacked again, and what falls is counted."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import second_attack
from eed_edge.errors import InputError
from eed_edge.evaluate.per_image import AttackVerdicts, read_per_image, write_per_image
from eed_edge.report import read_report

ROOT = Path(__file__).parents[1]


def test_images_that_an_evaluation_wrongly_left_fall_and_are_counted(attacked_flow, tmp_path):
    run = shutil.copytree(attacked_flow.run, tmp_path / "run")
    verdicts = read_per_image(run / "per_image.npz")
    adaptive = verdicts.attacks["adaptive"]
    target = tmp_path / "again.json"
    words = [str(run), "--bundle", str(attacked_flow.bundle), "--suite", "quick", "--seeds", "2"]
    all_right = AttackVerdicts(adaptive.rows, {"dynamic": np.ones(len(adaptive.rows), np.bool_)})
    write_per_image(run / "per_image.npz", replace(verdicts, attacks={"adaptive": all_right}))
    result = CliRunner().invoke(second_attack.main, [*words, "--json", str(target)])
    assert result.exit_code == 0, result.output
    (row,) = json.loads(target.read_text()).values()
    assert (row["left"], row["of"], row["attacked_again"]) == (20, 20, 20)
    wrong = round(20 * (1 - read_report(attacked_flow.run / "report.json")["accuracy"]["clean"]["dynamic"]))
    assert wrong <= min(row["fell_by_seed"]) <= max(row["fell_by_seed"]) <= row["fell"]
    assert row["fell"] > 0


def test_verdicts_on_other_files_and_verdicts_without_the_adaptive_list_are_refused(attacked_flow, tmp_path):
    verdicts = read_per_image(attacked_flow.run / "per_image.npz")
    other, without = tmp_path / "other.npz", tmp_path / "without.npz"
    write_per_image(other, replace(verdicts, evaluated="0" * 64))
    write_per_image(without, replace(verdicts, attacks={"pgd20": verdicts.attacks["pgd20"]}))
    for path, error in ((other, "got those on another"), (without, "expected a row 'adaptive', got pgd20")):
        with pytest.raises(InputError, match=error):
            second_attack.adaptive_verdicts(path, attacked_flow.run, attacked_flow.bundle)
    model = ROOT / "models" / "cifar10-resnet18-w16"
    assert len(second_attack.adaptive_verdicts(model / "per_image.npz", model, model / "bundle").rows) == 1000
