"""benchmarks/second_attack.py: what the list has left is attacked again, and what falls is counted."""

import json
import shutil
from dataclasses import replace

import numpy as np
from click.testing import CliRunner

from benchmarks import second_attack
from eed_edge.evaluate.per_image import AttackVerdicts, read_per_image, write_per_image
from eed_edge.report import read_report


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
