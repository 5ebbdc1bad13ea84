"""A bundle of version 0.1 loads, answers as it did, and is what today's export writes."""

import hashlib
import json
import shutil

import numpy as np
import onnxruntime
import pytest

import eed_edge
from tests.conftest import call
from tests.formats.stored import DATA, STORED, answers, content, keys, listed

BUNDLE = STORED / "bundle"
LABELS = [0, 1, 2, 2, 4, 0, 1, 2, 2, 4]  # of the first ten test images
SUBMODELS_USED = [1, 1, 1, 2, 1, 1, 1, 1, 2, 1]
MANIFEST = listed("""schema digest name created_by.tool created_by.version precision classes[]
    input.name input.dtype input.shape[] input.layout input.range[] input.channels
    input.preprocess.resize[] input.preprocess.crop input.preprocess.interpolation input.preprocess.grey
    input.preprocess.alpha input.preprocess.exif
    submodels[] submodels[].file submodels[].sha256 submodels[].bytes submodels[].params submodels[].macs
    submodels[].importance submodels[].subset
    gate.rule gate.parameters.confidence.threshold gate.parameters.agreement.votes
    gate.parameters.geometric.g gate.parameters.geometric.k gate.max_submodels gate.deadline_ms
    calibration.images calibration.attack calibration.max_drop calibration.guarantee
    metrics.weights_sha256""")
SINCE_SCHEMA_2 = listed("""temperatures[] abstain.threshold abstain.share abstain.clean abstain.attacked""")
LOSSES = ("lost_clean", "lost_attacked", "upper_bound", "submodels_used")
RULES = ("confidence", "agreement", "geometric")
FILES = ("cascade.onnx", "dense.onnx", "golden.npz")


def manifest_keys(files=FILES):
    losses = {f"calibration.{rule}.{name}" for rule in RULES for name in LOSSES}
    entries = {f"files.{file}.{name}" for file in files for name in ("sha256", "bytes")}
    return MANIFEST | losses | entries


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The bundle that is exported from the stored run today."""
    folder = tmp_path_factory.mktemp("exported")
    run = shutil.copytree(STORED / "run", folder / "run")
    result = call("export", run, folder / "bundle", "--with-dense")
    assert result.exit_code == 0, result.stderr
    return folder / "bundle"


@pytest.mark.parametrize("path", [BUNDLE, BUNDLE / "cascade.onnx"], ids=["folder", "single file"])
def test_the_stored_bundle_gives_its_stored_answers(path):
    stored = answers()
    answer = eed_edge.load(path)(stored["images"])
    np.testing.assert_allclose(answer.probs, stored["probs"], atol=1e-5)
    assert answer.probs[0] == pytest.approx([0.884994, 0.013746, 0.091579, 0.002312, 0.007369], abs=1e-5)
    for new, name, first in (
        (answer.labels, "labels", LABELS),
        (answer.submodels_used, "submodels_used", SUBMODELS_USED),
    ):
        assert new.tolist() == stored[name].tolist()
        assert new[:10].tolist() == first


@pytest.mark.parametrize("rule", ["agreement", "geometric"])
def test_the_rules_beside_the_bundle_s_own_have_their_stored_parameters(rule):
    parameters = {"agreement": {"votes": 2}, "geometric": {"g": 0.9412886291343294, "k": 4.0}}
    assert eed_edge.load(BUNDLE, rule=rule).parameters == parameters[rule]


def test_check_finds_the_stored_bundle_whole():
    result = call("check", BUNDLE)
    assert result.exit_code == 0, result.stderr
    assert "small: 2 sub-models" in result.stdout


def test_the_stored_manifest_has_these_keys_and_seals_itself():
    raw = (BUNDLE / "manifest.json").read_bytes()
    manifest = json.loads(raw)
    assert keys(manifest) == manifest_keys()
    assert (manifest["schema"], manifest["classes"]) == (1, ["0", "1", "2", "3", "4"])
    assert hashlib.sha256(raw.replace(manifest["digest"].encode(), b"0" * 64)).hexdigest() == (
        "82d1b172db4a097017e74f9e5db605da24cffdafed249622aa034ac457f4eda5"
    )


def test_the_manifest_that_export_writes_today_has_the_same_keys_and_figures(exported):
    new, stored = content(exported / "manifest.json"), content(BUNDLE / "manifest.json")
    assert keys(new) == manifest_keys(files=FILES[1:]) | SINCE_SCHEMA_2
    assert new["schema"] == 2
    assert new["created_by"] == {"tool": "eed-edge", "version": eed_edge.__version__}
    for name in ("name", "precision", "classes", "input", "metrics"):
        assert new[name] == stored[name]
    assert new["gate"]["rule"] == "confidence"
    assert new["gate"]["parameters"]["confidence"]["threshold"] == pytest.approx(0.509734, abs=1e-4)
    assert new["calibration"]["attack"] == "pgd-3, l_inf 12/255, against every prefix"


def test_golden_npz_keeps_its_arrays(exported):
    for folder in (BUNDLE, exported):
        with np.load(folder / "golden.npz") as arrays:
            shapes = {name: values.shape for name, values in arrays.items()}
        expected = {"images": (16, 1, 8, 8), "probs": (16, 5), "labels": (16,), "submodels_used": (16,)}
        if folder == exported:  # optional since 0.2, for check
            assert shapes.pop("dense_probs") == (16, 5)
        assert shapes == expected


@pytest.mark.parametrize("made", ["then", "today"])
@pytest.mark.parametrize("name", ["dense", "submodel-0", "submodel-1"])
def test_each_network_of_the_run_gives_its_stored_logits(exported, name, made):
    folder, stored = (BUNDLE if made == "then" else exported), answers()
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(
        session.run(["logits"], {"images": stored["images"]})[0], stored[name], atol=1e-4
    )


def test_run_prints_the_stored_objects():
    result = call("run", BUNDLE, DATA / "test.npz", "--json")
    new = [json.loads(line) for line in result.stdout.splitlines()]
    stored = content(STORED / "cli" / "run.jsonl")
    assert list(stored[3]) == ["file", "label", "class", "probability", "submodels_used", "truth"]
    for here, there in zip(new, stored, strict=True):
        assert list(here) == list(there)
        assert here["file"].endswith(there["file"])
        assert here["probability"] == pytest.approx(there["probability"], abs=1e-5)
        assert [here[name] for name in list(here)[1:3]] == [there[name] for name in list(there)[1:3]]
        assert [here[name] for name in list(here)[4:]] == [there[name] for name in list(there)[4:]]
