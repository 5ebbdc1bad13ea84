"""A bundle of schema 2 loads and answers as it did when it was written."""

import json

import numpy as np
import pytest

import eed_edge
from tests.conftest import call
from tests.formats.stored import DATA, HERE, answers, content, keys
from tests.formats.test_stored_bundle import SINCE_SCHEMA_2, manifest_keys

FOLDER = HERE / "version-0.2"
BUNDLE = FOLDER / "bundle"


@pytest.mark.parametrize("path", [BUNDLE, BUNDLE / "cascade.onnx"], ids=["folder", "single file"])
def test_the_stored_bundle_gives_its_stored_answers(path):
    with np.load(FOLDER / "answers.npz") as arrays:
        stored = dict(arrays)
    answer = eed_edge.load(path)(answers()["images"])
    np.testing.assert_allclose(answer.probs, stored["probs"], atol=1e-5)
    for name in ("labels", "submodels_used", "abstained"):
        assert getattr(answer, name).tolist() == stored[name].tolist()
    assert 0 < answer.abstained.sum() < len(answer.abstained)


def test_the_stored_manifest_has_these_keys_and_version_0_1_answers_alike_but_for_the_temperature():
    manifest = content(BUNDLE / "manifest.json")
    thresholds = {"gate.parameters.confidence.thresholds[]"}
    files = ("cascade.onnx", "golden.npz")
    assert keys(manifest) == manifest_keys(files=files) | SINCE_SCHEMA_2 | thresholds
    assert (manifest["schema"], manifest["precision"]) == (2, "float32")
    actual, before = eed_edge.load(BUNDLE)(answers()["images"]), answers()
    np.testing.assert_array_equal(actual.labels, before["labels"])
    np.testing.assert_array_equal(actual.submodels_used, before["submodels_used"])


def test_check_and_run_take_the_stored_bundle():
    assert call("check", BUNDLE).exit_code == 0
    lines = call("run", BUNDLE, DATA / "test.npz", "--json").stdout.splitlines()
    with np.load(FOLDER / "answers.npz") as arrays:
        assert [json.loads(line)["abstained"] for line in lines] == arrays["abstained"].tolist()
