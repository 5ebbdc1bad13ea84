"""The exporter checks its own work and never harms what is there."""

import numpy as np
import pytest
import torch

import eed_edge
from eed_edge.errors import CheckpointError, ExportError, InputError
from eed_edge.export import parity, write_bundle
from eed_edge.export.gate import calib_answers
from eed_edge.export.gate.calibrated_gate import GateOptions
from eed_edge.provenance import check_exported_from
from eed_edge.recipe import Gate
from eed_edge.train.data.batches import Images
from eed_edge.train.data.splits import Split
from eed_edge.train.run_folder import open_run
from tests.conftest import Flow, call


def test_parity_is_checked_and_fails_on_other_weights(flow: Flow):
    ensemble = open_run(flow.run).ensemble()
    images = [torch.rand(8, 1, 8, 8)]
    parity.check_parity(flow.bundle, ensemble, images)
    with torch.no_grad():
        next(ensemble.members[0].parameters()).add_(0.05)
    with pytest.raises(ExportError, match=r"submodel-0.onnx: logits differ from torch"):
        parity.check_parity(flow.bundle, ensemble, images)


def test_a_folder_that_is_no_bundle_is_not_replaced(flow: Flow, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    result = call("export", flow.run, tmp_path)
    assert result.exit_code == 1
    assert "expected a new folder or a bundle to replace" in result.output
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize(
    "cap", [{"deadline_ms": float("nan")}, {"deadline_ms": "5"}, {"max_submodels": 1.5}, {"max_submodels": 0}]
)
def test_a_cap_that_is_none_is_refused_before_any_work(tmp_path, cap):
    with pytest.raises(InputError, match=f"^expected {next(iter(cap))}, a .*number"):
        write_bundle.write_bundle(None, tmp_path / "bundle", options=GateOptions(**cap))


def test_a_run_without_joint_training_is_told(flow: Flow, tmp_path):
    (tmp_path / "run.json").write_bytes((flow.run / "run.json").read_bytes())
    with pytest.raises(CheckpointError, match="joint training has not finished"):
        write_bundle.write_bundle(open_run(tmp_path), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_golden_images_can_be_synthetic_and_still_check(flow: Flow, tmp_path):
    made = write_bundle.write_bundle(open_run(flow.run), tmp_path / "bundle", golden="synthetic")
    with np.load(tmp_path / "bundle" / "golden.npz") as golden, np.load(flow.run / "calib.npz") as calib:
        assert not np.isin(np.round(golden["images"] * 255), calib["images"][:16] * 1.0).all()
    assert call("check", tmp_path / "bundle").exit_code == 0
    assert "dense.onnx" not in made.files


def test_each_attacked_set_is_made_against_its_prefix(flow: Flow):
    run = open_run(flow.run)
    ensemble, calib = run.ensemble(), run.calib()
    images = Images(torch.from_numpy(calib.images.copy()), torch.from_numpy(calib.labels))
    attacked = calib_answers.attack_prefixes(ensemble, images, run)
    assert len(attacked) == len(ensemble.members)
    clean = images.images / 255
    for t, part in enumerate(attacked, start=1):
        assert (part - clean).abs().max() <= run.recipe.base.eps_255 / 255 + 1e-6
        with torch.no_grad():
            before, after = (
                torch.nn.functional.cross_entropy(ensemble.prefix(t)(x), images.labels) for x in (clean, part)
            )
        assert after > before


def test_a_bundle_of_other_weights_is_not_taken_for_the_runs(flow: Flow, tmp_path):
    import shutil

    moved = shutil.copytree(flow.run, tmp_path / "run")
    member = moved / "joint" / "member-0.safetensors"
    member.write_bytes(member.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(CheckpointError, match="was not exported from"):
        check_exported_from(eed_edge.load(flow.bundle).manifest, moved, open_run(moved).member_paths())


def test_a_folder_with_another_manifest_or_a_stranger_in_it_is_not_replaced(flow: Flow, tmp_path):
    import shutil

    app = tmp_path / "app"
    app.mkdir()
    (app / "manifest.json").write_text('{"name": "web app"}')
    mixed = shutil.copytree(flow.bundle, tmp_path / "mixed")
    (mixed / "thesis.txt").write_text("years of work")
    for folder in (app, mixed):
        before = sorted(path.name for path in folder.iterdir())
        result = call("export", flow.run, folder)
        assert result.exit_code == 1
        assert "expected a new folder or a bundle to replace" in result.output
        assert sorted(path.name for path in folder.iterdir()) == before


def test_a_damaged_calib_file_is_told(flow: Flow, tmp_path):
    import shutil

    run = shutil.copytree(flow.run, tmp_path / "run")
    for content in (b"", (run / "calib.npz").read_bytes()[:500]):
        (run / "calib.npz").write_bytes(content)
        result = call("export", run, tmp_path / "bundle")
        assert result.exit_code == 1
        assert "expected a whole NPZ file" in result.output


def test_caps_given_at_export_are_the_defaults_of_the_bundle_and_the_file(flow: Flow, tmp_path):
    folder = tmp_path / "bundle"
    result = call("export", flow.run, folder, "--single-file", "--max-submodels", 1, "--deadline-ms", 5000)
    assert result.exit_code == 0
    assert "cascade.onnx keeps no deadline" in result.output
    assert call("check", folder).exit_code == 0
    assert "calib images, at most 1 sub-models each, it runs 1.00 sub-models" in result.output
    net = eed_edge.load(folder)
    assert (net.max_submodels, net.deadline_ms) == (1, 5000)
    assert net.manifest.calibration.confidence.submodels_used == 1
    assert len(net.submodels) > 1
    images = np.random.default_rng(0).random((9, *net.manifest.input.size), np.float32)
    for path in (folder, folder / "cascade.onnx"):
        assert set(eed_edge.load(path)(images).submodels_used) == {1}
    free = eed_edge.load(folder, max_submodels=9, deadline_ms=float("inf"), threshold=2, rule="confidence")
    assert set(free(images).submodels_used) == {len(net.submodels)}


@pytest.mark.parametrize("rule", ["confidence", "agreement", "geometric"])
def test_any_rule_and_drop_may_be_exported_from_one_run(flow: Flow, tmp_path, rule):
    words = ("--rule", rule, "--max-drop", 0.25, "--single-file")
    result = call("export", flow.run, tmp_path / "bundle", *words)
    assert result.exit_code == 0, result.output
    assert f"gate: {rule}, " in result.output
    for path in (tmp_path / "bundle", tmp_path / "bundle" / "cascade.onnx"):
        made = eed_edge.load(path).manifest
        assert (made.gate.rule, made.calibration.max_drop) == (rule, 0.25)
    assert call("check", tmp_path / "bundle").exit_code == 0


@pytest.mark.parametrize(("guarantee", "count"), [(False, calib_answers.CALIB_IMAGES), (True, 1200)])
def test_a_guarantee_is_sought_on_every_calib_image(guarantee, count):
    calib = Split(np.zeros((1200, 1, 2, 2), np.uint8), np.arange(1200))
    images = calib_answers.calib_images(calib, Gate(guarantee=guarantee))
    assert images.labels.tolist() == list(range(count))
    assert images.images.shape == (count, 1, 2, 2)
