"""benchmarks/published.py: networks read from a bundle's files, and figures merged into a report."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks import published
from eed_edge import report
from eed_edge.errors import InputError
from eed_edge.evaluate.evaluate import draw_rows
from eed_edge.evaluate.per_image import (
    AttackVerdicts,
    common_images,
    read_per_image,
    write_per_image,
)
from eed_edge.train.run_folder import open_run


def test_members_are_read_from_the_files_of_a_bundle(flow):
    images = torch.rand(5, *open_run(flow.run).input.size)
    with torch.no_grad():
        expected = open_run(flow.run).ensemble()(images)
        np.testing.assert_allclose(published.members(flow.bundle)(images), expected, atol=1e-4)


def test_a_published_model_is_attacked_without_its_run(attacked_flow, tmp_path, monkeypatch):
    folder = tmp_path / "models" / "small"
    shutil.copytree(attacked_flow.bundle, folder / "bundle")
    shutil.copy(attacked_flow.run / "base.safetensors", folder)
    record = open_run(attacked_flow.run)
    write_recipe(folder / "recipe.toml", record.recipe.as_dict())
    monkeypatch.setattr(published, "MODELS", tmp_path / "models")
    words = ["small", "--images", "6", "--suite", "quick", "--work", str(tmp_path / "work")]
    target = folder / "report.json"
    shutil.copy(attacked_flow.run / "report.json", target)
    shutil.copy(attacked_flow.run / "per_image.npz", folder)
    shutil.copy(attacked_flow.run / "judged.jsonl", folder)
    before = report.read_report(target)
    result = CliRunner().invoke(published.main, words)
    assert result.exit_code == 0, result.output
    after = report.read_report(target)
    assert after["accuracy"]["adaptive"]["images"] == after["adaptive"]["images"] == 6
    assert after["accuracy"]["clean"] == before["accuracy"]["clean"]  # of more images
    assert {"dense", "static", "dynamic"} <= after["accuracy"]["apgd"].keys()
    stored = read_per_image(folder / "per_image.npz")
    assert stored.evaluated == before["evaluated"]
    assert stored.attacks["adaptive"].right["dynamic"].mean() == after["accuracy"]["adaptive"]["dynamic"]
    assert after["machine"] == before["machine"]  # of the latencies
    before["accuracy"]["adaptive"]["dense_int8"] = before["paired"]["adaptive"]["dense_int8"] = 0.5
    report.merge_report(target, before)
    adaptive = stored.attacks["adaptive"]
    flipped = {name: right ^ (np.arange(len(right)) == 0) for name, right in adaptive.right.items()}
    changed = {**stored.attacks, "adaptive": AttackVerdicts(adaptive.rows, flipped)}
    write_per_image(folder / "per_image.npz", replace(stored, attacks=changed))
    result = CliRunner().invoke(published.main, [*words, "--against", str(folder / "per_image.npz")])
    assert result.exit_code == 0, result.output
    after = report.read_report(target)
    assert "dense_int8" not in after["accuracy"]["adaptive"].keys() | after["paired"]["adaptive"].keys()
    assert after["against"].keys() == stored.attacks.keys()  # kept rows of more images among them
    assert abs(after["against"].pop("adaptive")["difference"]) == pytest.approx(1 / 6)
    assert {row["difference"] for row in after["against"].values()} == {0}
    whole = target.read_bytes()
    for more, message in (
        (["--team"], "has figures of dense, which --team leaves out"),
        (["--bundle", "other"], "expected figures of .*other, got those of another"),
    ):
        if "other" in more:
            manifest = json.loads((folder / "bundle" / "manifest.json").read_text())
            shutil.copytree(folder / "bundle", folder / "other")
            (folder / "other" / "manifest.json").write_text(json.dumps({**manifest, "name": "other"}))
        result = CliRunner().invoke(published.main, [*words, *more])
        with pytest.raises(InputError, match=message):
            raise result.exception
    assert target.read_bytes() == whole


def test_the_team_alone_has_a_report_of_its_own(attacked_flow, tmp_path, monkeypatch):
    folder = tmp_path / "models" / "small"
    shutil.copytree(attacked_flow.bundle, folder / "bundle")
    write_recipe(folder / "recipe.toml", open_run(attacked_flow.run).recipe.as_dict())
    monkeypatch.setattr(published, "MODELS", tmp_path / "models")
    target = tmp_path / "report-team.json"
    words = ["small", "--images", "4", "--suite", "quick", "--team", "--work", str(tmp_path / "work")]
    result = CliRunner().invoke(published.main, [*words, "--json", str(target)])
    assert result.exit_code == 0, result.output
    rows = report.read_report(target)["accuracy"]
    assert rows.keys() == {"clean", "pgd20", "apgd", "adaptive"}
    assert rows["adaptive"]["dynamic"] <= rows["pgd20"]["dynamic"] <= rows["clean"]["dynamic"]
    assert "dense" not in rows["clean"]
    assert read_per_image(tmp_path / "per_image-team.npz").attacks.keys() == rows.keys()


def test_a_larger_draw_goes_on_with_the_batches_of_a_smaller_one():
    assert published.batches(1000)[:6] == published.batches(500)
    assert published.batches(1000)[-1] == (916, 1000)
    assert max(stop - start for start, stop in published.batches(1600)) <= published.MOST
    few, many = published.draws(2000, 500, 3), published.draws(2000, 1200, 3)
    np.testing.assert_array_equal(few[0], many[0])
    assert [len(each) for each in many] == [500, 500, 200]
    np.testing.assert_array_equal(np.sort(np.concatenate(many)), draw_rows(2000, 1200, 3))


def test_more_images_attack_only_the_new_ones(attacked_flow, tmp_path, monkeypatch):
    folder = tmp_path / "models" / "small"
    shutil.copytree(attacked_flow.bundle, folder / "bundle")
    write_recipe(folder / "recipe.toml", open_run(attacked_flow.run).recipe.as_dict())
    monkeypatch.setattr(published, "MODELS", tmp_path / "models")
    monkeypatch.setattr(published, "DRAW", 4)
    stored, written = {}, {}
    for images in ("2", "4", "7"):
        target = tmp_path / f"report-{images}.json"
        words = ["small", "--images", images, "--suite", "quick", "--team", "--work", str(tmp_path / "work")]
        result = CliRunner().invoke(published.main, [*words, "--json", str(target)])
        assert result.exit_code == 0, result.output
        stored[images] = read_per_image(tmp_path / f"per_image-{images}.npz")
        written[images] = {
            path: path.stat().st_mtime_ns for path in sorted((tmp_path / "work").glob("*/*/000000-000004/*"))
        }
    assert written["4"] == written["7"]
    earlier, later = common_images(stored["4"].attacks["adaptive"], stored["7"].attacks["adaptive"])
    np.testing.assert_array_equal(earlier.right["dynamic"], later.right["dynamic"])
    assert len(earlier.rows) == 4
    assert len(stored["7"].attacks["adaptive"].rows) == 7
    assert report.read_report(target)["accuracy"]["adaptive"]["images"] == 7
    words[words.index("7")] = "8"  # all rows grow, in the same file
    words += ["--json", str(target), "--against", str(tmp_path / "per_image-4.npz")]
    result = CliRunner().invoke(published.main, words)
    assert result.exit_code == 0, result.output
    row = report.read_report(target)["against"]["adaptive"]
    assert (row["images"], row["difference"]) == (4, 0.0)  # the same bundle
    assert {each["images"] for each in report.read_report(target)["accuracy"].values()} == {8}
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("eps_255 = 12.0", "eps_255 = 1.0", 1))
    target.unlink()
    result = CliRunner().invoke(published.main, words)
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "work").iterdir())) == 2  # nothing of the other radius is taken over


def write_recipe(path: Path, table: dict) -> None:
    """Write a recipe as TOML: its values are numbers, words, booleans and lists of them."""
    top = [f"{key} = {value_of(value)}" for key, value in table.items() if not isinstance(value, dict)]
    sections = [
        f"[{key}]\n" + "\n".join(f"{name} = {value_of(each)}" for name, each in value.items())
        for key, value in table.items()
        if isinstance(value, dict)
    ]
    path.write_text("\n".join([*top, *sections]) + "\n")


def value_of(value: object) -> str:
    """A value in TOML."""
    return str(value).lower() if isinstance(value, bool) else repr(value)
