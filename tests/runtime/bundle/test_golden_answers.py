import dataclasses

import numpy as np
import pytest

import eed_edge
from eed_edge.errors import BundleError
from eed_edge.runtime.bundle import golden_file as module
from eed_edge.runtime.bundle.folder import open_bundle
from eed_edge.runtime.bundle.golden_answers import check_bundle
from eed_edge.runtime.bundle.golden_file import read_golden
from eed_edge.runtime.bundle.limits import Limits
from tests.runtime.conftest import npz


@pytest.mark.parametrize("rule", ["confidence", "agreement", "geometric"])
def test_a_sound_bundle_passes_and_says_what_was_looked_at(make_tiny, rule):
    tiny = make_tiny(rule=rule, deadline_ms=0.0)
    result = check_bundle(tiny.folder)
    sizes = [path.stat().st_size for path in tiny.folder.iterdir() if path.name != "manifest.json"]
    assert (result.name, result.submodels, result.files, result.bytes) == ("tiny", 3, 5, sum(sizes))
    assert (result.images, result.ties) == (20, 0)
    assert result.largest_difference < 1e-6


def test_golden_arrays_come_back_as_they_were_written(tiny):
    result = read_golden(open_bundle(tiny.folder))
    assert np.array_equal(result.images, tiny.images)
    assert result.labels.dtype == np.int64


@pytest.mark.parametrize("name", ["labels", "submodels_used"])
def test_one_other_answer_is_found_and_named(make_tiny, name):
    tiny = make_tiny()
    arrays = {name: getattr(read_golden(open_bundle(tiny.folder)), name).copy()}
    arrays[name][7] = 3 - arrays[name][7]
    with pytest.raises(BundleError, match=r"golden.npz: 1 of 20 answers differ; image 7: expected label"):
        check_bundle(make_tiny(golden=arrays).folder)


def test_probabilities_may_differ_by_rounding_and_no_more(make_tiny):
    probs = read_golden(open_bundle(make_tiny().folder)).probs
    assert (
        check_bundle(make_tiny(golden={"probs": probs + np.float32(5e-5)}).folder).largest_difference > 4e-5
    )
    with pytest.raises(BundleError, match=r"20 of 20 answers differ; image 0: .* 2.0e-04 apart"):
        check_bundle(make_tiny(golden={"probs": probs + np.float32(2e-4)}).folder)
    with pytest.raises(BundleError, match="20 of 20 answers differ"):
        check_bundle(make_tiny(golden={"probs": np.full_like(probs, np.nan)}).folder)


def test_a_decision_within_a_hair_of_a_tie_is_counted_not_refused(make_tiny):
    tiny = make_tiny(threshold=2.0)
    mean = eed_edge.load(tiny.folder, max_submodels=1)(tiny.images).probs.max(axis=1)
    recorded = read_golden(open_bundle(make_tiny(threshold=float(mean[4]) + 2e-6).folder))
    assert recorded.submodels_used[4] > 1
    arrays = {name: getattr(recorded, name) for name in ("probs", "labels", "submodels_used")}
    assert check_bundle(make_tiny(threshold=float(mean[4]) - 2e-6, golden=arrays).folder).ties == 1


def test_an_int8_bundle_may_differ_by_a_step_of_its_quantiser_and_no_more(make_tiny):
    def of_int8(**settings):
        tiny = make_tiny(**settings)
        tiny.manifest = dataclasses.replace(tiny.manifest, precision="int8")
        tiny.write()
        return check_bundle(tiny.folder)

    recorded = read_golden(open_bundle(make_tiny(threshold=2.0).folder))
    result = of_int8(threshold=2.0, golden={"probs": recorded.probs + np.float32(0.015)})
    assert result.largest_difference > 0.014
    assert (result.allowed_difference, result.tie_tolerance) == (0.02, 0.02)
    with pytest.raises(BundleError, match=r"20 of 20 answers differ; image 0: .* 2.5e-02 apart"):
        of_int8(threshold=2.0, golden={"probs": recorded.probs + np.float32(0.025)})
    mean = eed_edge.load(make_tiny(threshold=2.0).folder, max_submodels=1)(recorded.images).probs.max(axis=1)
    later = read_golden(open_bundle(make_tiny(threshold=float(mean[4]) + 2e-6).folder))
    arrays = {name: getattr(later, name) for name in ("probs", "labels", "submodels_used")}
    assert of_int8(threshold=float(mean[4]) - 0.01, golden=arrays).ties >= 1
    with pytest.raises(BundleError, match="answers differ"):
        of_int8(threshold=float(mean[4]) - 0.05, golden=arrays)


BAD_ARRAYS = [
    ({"labels": np.zeros(20, np.int32)}, r"expected labels \(20,\) int64, got \(20,\) int32"),
    ({"probs": np.zeros((20, 4), np.float32)}, r"expected probs \(20, 3\) float32, got \(20, 4\)"),
    ({"images": np.zeros((20, 3, 4, 5), np.float32)}, r"expected images \(20, 3, 4, 4\) float32, got"),
    ({"labels": np.zeros(0, np.int64)}, "expected images, 1 to 64, got 0"),
    ({"labels": np.array(["a"] * 20, object)}, "allow_pickle=False"),
]


@pytest.mark.parametrize(("arrays", "message"), BAD_ARRAYS)
def test_golden_arrays_of_another_shape_or_type_are_refused(make_tiny, arrays, message):
    with pytest.raises(BundleError, match=f"golden.npz: .*{message}"):
        check_bundle(make_tiny(golden=arrays).folder)


def test_golden_files_that_are_no_archive_lack_an_array_or_have_too_many_images_are_refused(
    tiny, monkeypatch
):
    bundle = open_bundle(tiny.folder)
    for raw, message in [(b"no archive", "File is not a zip file"), (npz(images=tiny.images), "labels")]:
        monkeypatch.setattr(module.Bundle, "read", lambda *_, raw=raw: raw)
        with pytest.raises(BundleError, match=f"golden.npz: .*{message}"):
            read_golden(bundle)
    monkeypatch.undo()
    with pytest.raises(BundleError, match="expected images, 1 to 19, got 20"):
        read_golden(bundle, limits=Limits(golden_images=19))


@pytest.mark.parametrize("name", ["dense.onnx", "dense-int8.onnx"])
def test_the_dense_network_in_the_bundle_is_judged_too(make_tiny, name):
    with pytest.raises(BundleError, match=rf"{name}: expected a plain ONNX model, got"):
        check_bundle(make_tiny(files={name: b"no model"}).folder)
