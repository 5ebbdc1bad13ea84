"""A single file as `eed_edge.load` reads it: settings, images and files that it refuses."""

import dataclasses
import logging

import numpy as np
import onnx
import pytest

import eed_edge
from eed_edge import manifest as contract
from eed_edge.errors import BundleError, InferenceError, InputError
from eed_edge.export.cascade_graph import to_cascade
from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.runtime.measure import benchmark
from tests.conftest import call
from tests.export.cascade_models import CLASSES, IMAGES, manifest_of, single_file
from tests.runtime.conftest import Tiny
from tests.runtime.tiny_onnx import (
    FAILS_UNLESS_SEVEN_IMAGES,
    linear,
)


def test_the_loaded_file_answers_no_images_without_its_graph(models, tmp_path, monkeypatch):
    net = single_file(tmp_path / "cascade.onnx", models, manifest_of("agreement", {"votes": 2}))
    monkeypatch.setattr(net, "session", None)
    answer = net(IMAGES[:0])
    assert (answer.probs.shape, answer.probs.dtype) == ((0, CLASSES), np.float32)
    for name in ("labels", "submodels_used", "answer_prefix"):
        assert (getattr(answer, name).shape, getattr(answer, name).dtype) == ((0,), np.int64)
    assert answer.complete
    assert answer.failed_submodels == ()


def test_the_file_alone_is_loaded_and_answers_as_the_rule_does(models, probs, tmp_path):
    path = tmp_path / "cascade.onnx"
    path.write_bytes(to_cascade(models, manifest_of("geometric", {"g": 1.0, "k": 1.0})))
    net = eed_edge.load(path)
    many = np.concatenate([IMAGES, IMAGES])
    expected = replay_rule(np.concatenate([probs, probs], 1), "geometric", {"g": 1.0, "k": 1.0})
    actual = net(many)
    np.testing.assert_array_equal(actual.labels, expected.labels)
    np.testing.assert_array_equal(actual.submodels_used, expected.submodels_used)
    assert len(net(IMAGES[:0]).labels) == 0
    assert net.manifest.classes == tuple("abcde")


def test_settings_of_another_type_are_one_line_for_the_file_too(models, tmp_path):
    path = tmp_path / "cascade.onnx"
    path.write_bytes(to_cascade(models, manifest_of("agreement", {"votes": 2})))
    wrong = {"threads": "2", "spinning": "yes", "arena": 3, "providers": "CPUExecutionProvider"}
    for name, value in wrong.items():
        with pytest.raises(InputError, match=f"^expected {name}, .*, got {value!r}; "):
            eed_edge.load(path, **{name: value})
    with pytest.raises(InputError, match=r"^expected deadline_ms, a number >= 0, got '5'; "):
        eed_edge.load(path, deadline_ms="5")


@pytest.mark.parametrize(
    ("images", "message"),
    [(IMAGES * 2, r"pixels in \[0, 1\]"), (IMAGES[:, :1], "make them RGB")],
)
def test_the_file_refuses_images_as_a_bundle_does(models, tmp_path, images, message):
    (tmp_path / "cascade.onnx").write_bytes(to_cascade(models, manifest_of("agreement", {"votes": 2})))
    with pytest.raises(InputError, match=message):
        eed_edge.load(tmp_path / "cascade.onnx")(images)


def test_settings_that_the_file_fixes_and_files_of_others_are_refused(models, tmp_path):
    (tmp_path / "cascade.onnx").write_bytes(to_cascade(models, manifest_of("agreement", {"votes": 2})))
    with pytest.raises(InputError, match="max_submodels is fixed inside a single file"):
        eed_edge.load(tmp_path / "cascade.onnx", max_submodels=1)
    (tmp_path / "other.onnx").write_bytes(models[0])
    with pytest.raises(BundleError, match=r"expected the metadata eed_edge\.manifest"):
        eed_edge.load(tmp_path / "other.onnx")
    (tmp_path / "cut.onnx").write_bytes(models[0][: len(models[0]) // 2])
    with pytest.raises(BundleError):
        eed_edge.load(tmp_path / "cut.onnx")


def test_a_submodel_that_raises_inside_the_file_is_an_error_that_names_the_way_out(models, tmp_path):
    broken = linear(
        np.zeros((3 * 8 * 8, CLASSES)), np.zeros(CLASSES), size=(3, 8, 8), last=FAILS_UNLESS_SEVEN_IMAGES
    )
    manifest = manifest_of("confidence", {"threshold": 2.0})
    net = single_file(tmp_path / "cascade.onnx", [models[0], broken, *models[2:]], manifest)
    with pytest.raises(InferenceError, match=r"the file failed: .*; use the bundle, which leaves a failing"):
        net(IMAGES[:3])


def test_a_deadline_in_the_manifest_is_said_not_to_hold_for_the_file(models, tmp_path, caplog):
    manifest = manifest_of("confidence", {"threshold": 0.6}, max_submodels=2, deadline_ms=7.5)
    with caplog.at_level(logging.WARNING):
        net = single_file(tmp_path / "cascade.onnx", models, manifest)
    assert "cascade.onnx: the manifest's deadline of 7.5 ms does not hold for a single file" in caplog.text
    assert net.deadline_ms is None
    answer = net(IMAGES)
    assert answer.complete
    assert answer.submodels_used.max() == 2
    with pytest.raises(
        InputError, match=r"expected no deadline_ms for a single file.*got 5; load the bundle"
    ):
        eed_edge.load(tmp_path / "cascade.onnx", deadline_ms=5)
    eed_edge.load(tmp_path / "cascade.onnx", deadline_ms=float("inf"))


def without_an_output(model):
    del model.graph.output[2]


def output_of_another_type(model):
    model.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    names = {node.output[0]: node for node in model.graph.node}
    names["submodels_used"].op_type = "Cast"
    names["submodels_used"].attribute.add(name="to", type=onnx.AttributeProto.INT, i=onnx.TensorProto.FLOAT)


def input_of_another_name(model):
    model.graph.input[0].name = "pixels"
    model.graph.node.insert(0, onnx.helper.make_node("Identity", ["pixels"], ["images"]))


def input_of_another_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    model.graph.input[0].name = "grey"
    repeated = onnx.helper.make_node("Concat", ["grey"] * 3, ["images"], axis=1)
    model.graph.node.insert(0, repeated)


def input_of_one_batch_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def manifest_of_other_classes(model):
    manifest = manifest_of("agreement", {"votes": 2})
    text = contract.dump_manifest(dataclasses.replace(manifest, classes=("a", "b"))).decode()
    onnx.helper.set_model_props(model, {"eed_edge.manifest": text, "eed_edge.classes": '["a", "b"]'})


def other_names_of_classes(model):
    (entry,) = (entry for entry in model.metadata_props if entry.key == "eed_edge.classes")
    entry.value = '["a", "b", "c", "d", "f"]'


def no_names_of_classes(model):
    (entry,) = (entry for entry in model.metadata_props if entry.key == "eed_edge.classes")
    model.metadata_props.remove(entry)


FOREIGN = {
    without_an_output: r"expected the outputs .*failed_submodels tensor\(int64\), got .*; export it again",
    output_of_another_type: r"expected the outputs .*, got .*submodels_used tensor\(float\)",
    input_of_another_name: "expected one input images float .*, got .*pixels",
    input_of_another_size: "expected one input images float .*, got .*grey",
    input_of_one_batch_size: "expected one input images float .*, got .*2, 3, 8, 8",
    manifest_of_other_classes: r"expected probabilities \('N', 2\), .*, got \['N', 5\]",
    other_names_of_classes: r"expected eed_edge\.classes to be the classes of eed_edge\.manifest, got '\[\"a",
    no_names_of_classes: r"expected the metadata eed_edge\.classes, got none",
}


@pytest.mark.parametrize("change", FOREIGN)
def test_a_file_whose_graph_is_not_as_its_manifest_says_is_refused(models, tmp_path, change):
    model = onnx.load_from_string(to_cascade(models, manifest_of("agreement", {"votes": 2})))
    change(model)
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=rf"other\.onnx: {FOREIGN[change]}"):
        eed_edge.load(tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b"failed_submodels", "NodeProto.output"),
        (b'["a", "b"', "StringStringEntryProto.value"),
    ],
)
def test_a_text_that_is_not_utf_8_is_one_line(models, tmp_path, text, field):
    model = to_cascade(models, manifest_of("agreement", {"votes": 2}))
    (tmp_path / "odd.onnx").write_bytes(model.replace(text, text[:-2] + b"\xff" + text[-1:]))
    with pytest.raises(
        BundleError, match=rf"odd\.onnx: .*, got {field} that is not UTF-8 at byte .*; export"
    ):
        eed_edge.load(tmp_path / "odd.onnx")


def test_the_file_is_timed_beside_the_bundle_and_run_by_the_command(tmp_path):
    plain = Tiny(tmp_path / "bundle")
    tiny = Tiny(tmp_path / "bundle", files={"cascade.onnx": to_cascade(plain.models, plain.manifest)})
    latency = benchmark.measure_latency(tiny.folder, tiny.images, networks={}, repeats=2)["latency"]
    assert latency["single_file"].keys() == latency["dynamic"].keys()
    for key in ("load_ms", "first_ms", "peak_rss_mib"):
        assert latency[key].keys() == {"ensemble", "single_file"}
        assert latency[key]["single_file"] > 0
    np.savez(tmp_path / "x.npz", images=np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), np.uint8))
    ways = [call("run", path, tmp_path / "x.npz") for path in (tiny.folder, tiny.folder / "cascade.onnx")]
    assert ways[0].exit_code == ways[1].exit_code == 0
    assert ways[0].stdout == ways[1].stdout
    refused = call("run", tiny.folder / "cascade.onnx", tmp_path / "x.npz", "--threshold", 0.5)
    assert refused.exit_code == 1
    assert "threshold is fixed inside a single file" in refused.stderr
