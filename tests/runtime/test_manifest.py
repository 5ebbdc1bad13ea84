import dataclasses
import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eed_edge import digest_json
from eed_edge.errors import BundleError
from eed_edge.manifest import dump_manifest, parse_manifest
from tests.runtime.conftest import make_manifest

MANIFEST = make_manifest([b"a", b"b"], {"golden.npz": b"g"}, max_submodels=2, deadline_ms=5.0)
RAW = dump_manifest(MANIFEST)


def sealed(change):
    """The manifest after ``change`` has been at its content, with a digest that fits."""
    content = json.loads(RAW)
    change(content)
    return digest_json.seal(content)


def at(path, value):
    """A change that puts ``value`` at a dotted path; ``...`` takes the key away."""

    def change(content):
        *folders, name = [int(key) if key.isdigit() else key for key in path.split(".")]
        for key in folders:
            content = content[key]
        if value is ...:
            del content[name]
        else:
            content[name] = value

    return change


def test_what_is_written_is_read_back_and_written_alike():
    assert parse_manifest(RAW) == MANIFEST
    assert dump_manifest(parse_manifest(RAW)) == RAW
    metrics = dataclasses.replace(MANIFEST, metrics={"clean": 0.5, "seed": 1, "note": "x"})
    assert parse_manifest(dump_manifest(metrics)) == metrics
    assert "metrics" not in json.loads(RAW)


NEW_IN_2 = [
    ("precision", "int8"),
    ("temperatures", [0.5, 2.0]),
    ("abstain", {"threshold": 0.5, "share": 0.9, "clean": 0.95, "attacked": 0.9}),
    ("gate.parameters.confidence.thresholds", [0.25]),
]


@pytest.mark.parametrize(("path", "value"), NEW_IN_2)
def test_what_schema_2_adds_is_read_and_written_and_schema_1_does_not_have_it(path, value):
    raw = sealed(at(path, value))
    again = dump_manifest(parse_manifest(raw))
    assert json.loads(again) == json.loads(raw)
    old = json.loads(raw)
    old["schema"] = 1
    with pytest.raises(BundleError, match=f"schema 1 has no {path.split('.')[-1]}.*, expected schema 2"):
        parse_manifest(digest_json.seal(old))


def test_a_manifest_of_schema_1_means_what_it_meant():
    old = {**json.loads(RAW), "schema": 1}
    manifest = parse_manifest(digest_json.seal(old))
    assert manifest == MANIFEST
    assert (manifest.precision, manifest.temperatures, manifest.abstain) == ("float32", None, None)
    assert manifest.gate.parameters_of("confidence") == {"threshold": 0.6}
    assert json.loads(dump_manifest(manifest))["schema"] == 2


def test_the_digest_is_the_hash_of_the_file_with_64_zeros_in_its_place():
    digest = json.loads(RAW)["digest"]
    assert hashlib.sha256(RAW.replace(digest.encode(), b"0" * 64)).hexdigest() == digest
    assert parse_manifest(RAW).digest == digest


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, len(RAW) - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(place, bit):
    flipped = bytearray(RAW)
    flipped[place] ^= 1 << bit
    with pytest.raises(BundleError, match=r"manifest\.json") as caught:
        parse_manifest(bytes(flipped))
    assert "\n" not in str(caught.value)


ABSTAIN = {"threshold": 0.5, "share": 0.9, "clean": 0.95, "attacked": 0.9}
CHANGES = [
    (at("schema", 3), "has schema 3, expected at most 2; install a newer eed-edge"),
    (at("schema", 0), "schema: expected 1 to 2, got 0"),
    (at("schema", True), "schema: expected 1 to 2, got True"),
    (at("schema", ...), "schema: expected 1 to 2, got None"),
    (at("colour", 1), "content: unknown key 'colour', expected digest, name"),
    (at("gate.parameters.confidence.slope", 1), "content.gate.parameters.confidence: unknown key 'slope'"),
    (at("input.preprocess.exif", ...), "content.input.preprocess: key 'exif' is missing"),
    (at("precision", ...), "content: key 'precision' is missing"),
    (at("gate.rule", ...), "content.gate: key 'rule' is missing"),
    (at("calibration.agreement", ...), "content.calibration: key 'agreement' is missing"),
    (at("gate.rule", "vote"), "gate.rule: expected 'confidence' or 'agreement' or 'geometric', got 'vote'"),
    (at("precision", "int4"), "content.precision: expected 'float32' or 'int8', got 'int4'"),
    (at("temperatures", [1.0]), "temperatures must be null or 2, one for each sub-model, got 1"),
    (at("temperatures", [1.0, 0]), "temperatures must be > 0, got 0.0"),
    (at("temperatures", 1.0), "content.temperatures: expected a list, got 1.0"),
    (at("abstain", {"threshold": 0.5}), "content.abstain: key 'share' is missing"),
    (at("abstain", {**ABSTAIN, "threshold": 1.5}), r"abstain: threshold must be in \[0, 1\], got 1.5"),
    (at("abstain", {**ABSTAIN, "attacked": -1}), r"abstain: attacked must be in \[0, 1\], got -1.0"),
    (at("gate.parameters.confidence.thresholds", [0.5, 0.5]), "thresholds must be null or 1, .*, got 2"),
    (at("gate.parameters.confidence.thresholds", [2.5]), r"threshold must be in \[0, 2\], got 2.5"),
    (at("name", 3), "content.name: expected a text, got 3"),
    (at("submodels.1.params", 1.5), r"content.submodels\[1\].params: expected a whole number, got 1.5"),
    (at("submodels.1.params", True), "expected a whole number, got True"),
    (at("submodels.1.macs", -1), "macs must be >= 0, got -1"),
    (at("submodels", {}), "content.submodels: expected a list, got {}"),
    (at("submodels", []), "submodels must be 1 to 62, got 0"),
    (at("files", []), r"content.files: expected an object, got \[\]"),
    (at("files", {}), "files lacks golden.npz"),
    (at("classes", ["a"]), "classes must name at least 2, got 1"),
    (at("classes", ["a", "a", "b"]), "classes must differ from each other"),
    (at("gate.parameters.confidence.threshold", 2.5), r"threshold must be in \[0, 2\], got 2.5"),
    (at("gate.parameters.confidence.threshold", "0.5"), "threshold: expected a number, got '0.5'"),
    (at("gate.parameters.geometric.g", int("9" * 400)), "geometric.g: expected a finite number, got inf"),
    (at("gate.parameters.agreement.votes", 0), "votes must be >= 1, got 0"),
    (at("gate.parameters.agreement.votes", 3), "gate.parameters.agreement.votes must be at most 2, got 3"),
    (at("gate.parameters.geometric.g", -1), "g and k must be >= 0, got -1.0 and 1.0"),
    (at("gate.max_submodels", 0), "max_submodels must be null or >= 1, got 0"),
    (at("gate.deadline_ms", -1), "deadline_ms must be null or >= 0, got -1.0"),
    (at("calibration.max_drop", 1.5), r"max_drop must be in \[0, 1\], got 1.5"),
    (at("calibration.images", -1), "images must be >= 0, got -1"),
    (at("calibration.geometric.upper_bound", 2), r"upper_bound must be in \[0, 1\], got 2.0"),
    (at("calibration.geometric.submodels_used", 0), "submodels_used must be >= 1, got 0.0"),
    (at("calibration.guarantee", 1), "guarantee: expected true or false, got 1"),
    (at("input.shape", ["N", 3, 4]), "content.input.shape: expected 4 entries, got 3"),
    (at("input.shape", ["M", 3, 4, 4]), r"content.input.shape\[0\]: expected 'N', got 'M'"),
    (at("input.shape", ["N", 3, 0, 4]), "shape must have sizes >= 1"),
    (at("input.channels", "L"), "L needs 1 channels in shape, got 3"),
    (at("input.range", [0, 255]), r"range must be \[0, 1\], got \[0.0, 255.0\]"),
    (at("input.name", ""), "name must not be empty"),
    (at("input.preprocess.resize", [0, 4]), "resize must be null or two sizes >= 1"),
    (at("input.preprocess.resize", 4), "resize: expected a list, got 4"),
    (at("submodels.0.sha256", "A" * 64), "sha256 must be 64 hex digits"),
    (at("submodels.0.bytes", -1), "bytes must be >= 0, got -1"),
    (at("submodels.0.file", "../a.onnx"), "file name '../a.onnx' must match"),
    (at("submodels.0.file", ".."), r"file name '\.\.' must match"),
    (at("submodels.0.file", "manifest.json"), "not be manifest.json"),
    (at("submodels.0.file", "SUBMODEL-1.onnx"), "a file is named twice"),
    (at("files.a\n", {"sha256": "0" * 63 + "1", "bytes": 1}), r"file name 'a\\n' must match"),
    (at("metrics", {"clean": True}), "metrics.clean: expected a number, got True"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_every_value_out_of_place_is_named(change, message):
    with pytest.raises(BundleError, match=message) as caught:
        parse_manifest(sealed(change))
    assert "\n" not in str(caught.value)


RAWS = [
    (b"", "Expecting value"),
    (b"[]", r"expected an object, got \[\]"),
    (b"\xff", "can't decode byte"),
    (b"[" * 100_000, "expected at most 16 levels"),
    (RAW.replace(b'"name": "tiny"', b'"name": "tiny", "name": "tiny"'), "key 'name' occurs twice"),
    (RAW.replace(b"0.6", b"NaN"), "expected finite numbers, got NaN"),
    (RAW.replace(b'"digest": "', b'"digest": "x'), "digest: expected 64 hexadecimal digits"),
    (RAW.replace(b'"tiny"', b'"' + json.loads(RAW)["digest"].encode() + b'"'), "stand in the file only once"),
    (RAW.replace(b"tiny", b"Tiny"), "digest: the file says .*, its content hashes to"),
]


@pytest.mark.parametrize(("raw", "message"), RAWS)
def test_what_is_no_sealed_json_is_refused_in_one_line(raw, message):
    with pytest.raises(BundleError, match=rf"manifest\.json: .*{message}.*; it is damaged"):
        parse_manifest(raw)


BAD_MANIFESTS = [
    ({"classes": ("a",)}, "classes must name at least 2"),
    ({"name": "0" * 64}, "64 zeros stand for the digest"),
    ({"metrics": {"clean": float("nan")}}, "metrics.clean: expected a finite number, got nan"),
    ({"metrics": {"clean": {1, 2}}}, "not JSON serializable"),
]


@pytest.mark.parametrize(("change", "message"), BAD_MANIFESTS)
def test_nothing_is_written_that_would_not_be_read(change, message):
    with pytest.raises(BundleError, match=message):
        dump_manifest(dataclasses.replace(MANIFEST, **change))
