"""The single file answers as the bundle it was made of, for every rule and any batch."""

import dataclasses
import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import eed_edge
from eed_edge import manifest as contract
from eed_edge.errors import BundleError, InferenceError, InputError
from eed_edge.export.cascade_graph import to_cascade
from eed_edge.export.network_graph import to_onnx
from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.runtime.measure import benchmark
from eed_edge.train.networks import build
from tests.conftest import call
from tests.runtime.conftest import Tiny, as_images, cascade_that_says, models_that_say
from tests.runtime.tiny_onnx import (
    FAILS_UNLESS_SEVEN_IMAGES,
    INFINITE_AT_0,
    MINUS_INFINITE_AT_0,
    NAN_AT_0,
    linear,
    node,
    tensor,
)

MEMBERS, CLASSES = 4, 5
IMAGES = np.random.default_rng(0).random((120, 3, 8, 8), np.float32)


@pytest.fixture(scope="module")
def models() -> list[bytes]:
    """Members that are sure of some images and not of others."""
    made = []
    for seed in range(MEMBERS):
        net = build.build_network("resnet18", classes=CLASSES, channels=3, width=4, seed=seed)
        net.body.classify.weight.data.mul_(80)
        with torch.no_grad():
            for _ in range(20):
                net.train()(torch.from_numpy(IMAGES))
            net.body.classify.bias.data -= net.eval()(torch.from_numpy(IMAGES)).mean(0)
        made.append(to_onnx(net.eval(), torch.from_numpy(IMAGES[:1])))
    return made


@pytest.fixture(scope="module")
def probs(models) -> np.ndarray:
    logits = [run(model, IMAGES)[0] for model in models]
    powers = np.exp(np.stack(logits))
    return (powers / powers.sum(2, keepdims=True)).astype(np.float32)


def run(model: bytes, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[:2]


def manifest_of(rule: str, parameters: dict[str, float], **gate) -> contract.Manifest:
    every = {"confidence": {"threshold": 0.5}, "agreement": {"votes": 2}, "geometric": {"g": 1.0, "k": 1.0}}
    every[rule] = parameters
    loss = contract.RuleLoss(0.0, 0.0, 0.0, 1.0)
    entry = contract.SubmodelEntry("submodel-0.onnx", "1" * 64, 1, 1, 1, "erm", 0)
    return contract.Manifest(
        name="tiny",
        created_by=contract.CreatedBy("eed-edge", eed_edge.__version__),
        classes=tuple("abcde"),
        input=contract.InputSpec(
            name="images", shape=("N", 3, 8, 8), channels="RGB", preprocess=contract.Preprocess()
        ),
        submodels=tuple(dataclasses.replace(entry, file=f"submodel-{i}.onnx") for i in range(MEMBERS)),
        gate=contract.GateSpec(
            rule,
            contract.GateParameters(
                contract.Confidence(**every["confidence"]),
                contract.Agreement(**every["agreement"]),
                contract.Geometric(**every["geometric"]),
            ),
            **gate,
        ),
        calibration=contract.Calibration(1, "none", 0.0, False, loss, loss, loss),
        files={"golden.npz": contract.FileEntry("1" * 64, 1)},
    )


CASES = [
    ("confidence", {"threshold": 0.6}),
    ("confidence", {"threshold": 2.0}),
    ("agreement", {"votes": 2}),
    ("agreement", {"votes": 3}),
    ("geometric", {"g": 1.0, "k": 1.0}),
    ("geometric", {"g": 4.0, "k": 0.0}),
]


@pytest.mark.parametrize(("rule", "parameters"), CASES)
@pytest.mark.parametrize("cap", [None, 2])
def test_the_single_file_decides_as_the_rule_does_on_the_same_probabilities(
    models, probs, rule, parameters, cap
):
    model = to_cascade(models, manifest_of(rule, parameters, max_submodels=cap))
    found, used = run(model, IMAGES)
    wanted = replay_rule(probs, rule, parameters, max_submodels=cap)
    np.testing.assert_array_equal(used, wanted.submodels_used)
    np.testing.assert_array_equal(found.argmax(1), wanted.labels)
    np.testing.assert_allclose(found, wanted.probs, atol=1e-5)


def test_some_images_stop_early_and_some_do_not(models, probs):
    used = replay_rule(probs, "confidence", {"threshold": 0.6}).submodels_used
    assert set(used.tolist()) == {1, 2, 3, 4}


@pytest.mark.parametrize(("rule", "parameters"), CASES[::2])
def test_answers_do_not_depend_on_the_batch(models, rule, parameters):
    model = to_cascade(models, manifest_of(rule, parameters))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    whole = session.run(None, {"images": IMAGES[:20]})[:2]
    for i in range(20):
        one = session.run(None, {"images": IMAGES[i : i + 1]})
        np.testing.assert_allclose(one[0], whole[0][i : i + 1], atol=1e-5)
        assert one[1].tolist() == whole[1][i : i + 1].tolist()


@pytest.mark.parametrize(("rule", "parameters"), CASES)
def test_an_empty_batch_has_an_empty_answer(models, rule, parameters):
    model = to_cascade(models, manifest_of(rule, parameters))
    assert b"OneHot" not in model  # for an empty batch onnxruntime 1.20 to 1.26 crashes in it
    found, used = run(model, IMAGES[:0])
    assert (found.shape, used.shape) == ((0, CLASSES), (0,))


def test_the_loaded_file_answers_no_images_without_its_graph(models, tmp_path, monkeypatch):
    net = single_file(tmp_path / "cascade.onnx", models, manifest_of("agreement", {"votes": 2}))
    monkeypatch.setattr(net, "session", None)
    answer = net(IMAGES[:0])
    assert (answer.probs.shape, answer.probs.dtype) == ((0, CLASSES), np.float32)
    for name in ("labels", "submodels_used", "answer_prefix"):
        assert (getattr(answer, name).shape, getattr(answer, name).dtype) == ((0,), np.int64)
    assert answer.complete
    assert answer.failed_submodels == ()


def test_the_file_names_its_classes_and_its_gate(models):
    model = to_cascade(models, manifest_of("confidence", {"threshold": 0.6}))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    texts = session.get_modelmeta().custom_metadata_map
    assert texts["eed_edge.classes"] == '["a", "b", "c", "d", "e"]'
    assert (
        contract.parse_manifest(texts["eed_edge.manifest"].encode()).gate.parameters.confidence.threshold
        == 0.6
    )


def test_the_file_alone_is_loaded_and_answers_as_the_rule_does(models, probs, tmp_path):
    path = tmp_path / "cascade.onnx"
    path.write_bytes(to_cascade(models, manifest_of("geometric", {"g": 1.0, "k": 1.0})))
    net = eed_edge.load(path)
    many = np.concatenate([IMAGES, IMAGES])
    wanted = replay_rule(np.concatenate([probs, probs], 1), "geometric", {"g": 1.0, "k": 1.0})
    found = net(many)
    np.testing.assert_array_equal(found.labels, wanted.labels)
    np.testing.assert_array_equal(found.submodels_used, wanted.submodels_used)
    assert len(net(IMAGES[:0]).labels) == 0
    assert net.manifest.classes == tuple("abcde")


def test_settings_of_another_type_are_one_line_for_the_file_too(models, tmp_path):
    path = tmp_path / "cascade.onnx"
    path.write_bytes(to_cascade(models, manifest_of("agreement", {"votes": 2})))
    wrong = {"threads": "2", "spinning": "yes", "arena": 3, "providers": "CPUExecutionProvider"}
    for name, given in wrong.items():
        with pytest.raises(InputError, match=f"^expected {name}, .*, got {given!r}; "):
            eed_edge.load(path, **{name: given})
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


def with_gate(
    manifest: contract.Manifest, rule: str, parameters: dict[str, float], **gate
) -> contract.Manifest:
    return dataclasses.replace(manifest, gate=manifest_of(rule, parameters, **gate).gate)


def single_file(path, models, manifest):
    path.write_bytes(to_cascade(models, manifest))
    return eed_edge.load(path)


FAILURES = [
    ("confidence", {"threshold": 0.6}),
    ("agreement", {"votes": 1}),
    ("agreement", {"votes": 2}),
    ("geometric", {"g": 1.0, "k": 1.0}),
    ("geometric", {"g": 0.1, "k": 3.0}),
]


@pytest.mark.parametrize("last", [NAN_AT_0, INFINITE_AT_0, MINUS_INFINITE_AT_0], ids=["nan", "inf", "-inf"])
@pytest.mark.parametrize(("rule", "parameters"), FAILURES)
def test_a_submodel_without_usable_logits_is_left_out_as_a_bundle_does(
    tmp_path, caplog, rule, parameters, last
):
    rng = np.random.default_rng(5)
    said = rng.uniform(0.01, 1, (4, 300, 3))
    said[:3][rng.random((3, 300)) < 0.4] = 0  # all of a row at once, or
    said[3, ::7, 1] = 0  # a single logit
    said[2, said[3, :, 1] == 0] = 0.5  # but never all sub-models
    bundle = cascade_that_says(4, 3, rule=rule, parameters=parameters, last=last)
    models, manifest = models_that_say(4, 3, last=last)
    net = single_file(tmp_path / "cascade.onnx", models, with_gate(manifest, rule, parameters))
    images = as_images(said)
    expected, found = bundle(images), net(images)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.submodels_used, expected.submodels_used)
    np.testing.assert_allclose(found.probs, expected.probs, atol=1e-5)
    assert found.failed_submodels == expected.failed_submodels
    assert len(found.failed_submodels) > 1
    for t in found.failed_submodels:
        assert caplog.text.count(f"sub-model {t} is left out: it gave NaN") == 2  # by the bundle and the file
    for i in range(20):
        assert net(images[i : i + 1]).failed_submodels == bundle(images[i : i + 1]).failed_submodels


@pytest.mark.parametrize(("rule", "parameters"), FAILURES)
def test_huge_finite_logits_are_answered_as_by_a_bundle(tmp_path, rule, parameters):
    by = tensor("by", np.array([3e38], np.float32))
    last = [node("Sub", ["y", "four"], ["near_0"]), node("Mul", ["near_0", "by"], ["logits"])]
    more = [by, tensor("four", np.array([4], np.float32))]
    bundle = cascade_that_says(3, 4, rule=rule, parameters=parameters, last=last, more=more)
    models, manifest = models_that_say(3, 4, last=last, more=more)
    net = single_file(tmp_path / "cascade.onnx", models, with_gate(manifest, rule, parameters))
    images = as_images(np.random.default_rng(0).choice([0.375, 0.5, 0.625], (3, 300, 4)))  # -3e38, 0, 3e38
    expected, found = bundle(images), net(images)
    with np.errstate(over="ignore"):  # sums like those of unusable logits
        assert np.isinf(bundle.submodels[0].session.run(None, {"images": images})[0].sum(1)).any()
    assert expected.failed_submodels == found.failed_submodels == ()
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.submodels_used, expected.submodels_used)
    np.testing.assert_allclose(found.probs, expected.probs, atol=1e-6)


@pytest.mark.parametrize(("rule", "parameters"), FAILURES)
def test_no_usable_submodel_is_nan_in_the_graph_and_an_error_of_load(tmp_path, rule, parameters):
    said = np.random.default_rng(0).uniform(0.5, 0.6, (3, 4, 3))
    said[:, 2] = 0
    models, manifest = models_that_say(3, 3)
    net = single_file(tmp_path / "cascade.onnx", models, with_gate(manifest, rule, parameters))
    probs, used, failed = net.session.run(None, {"images": as_images(said)})
    assert np.isnan(probs).all(axis=1).tolist() == [False, False, True, False]
    assert (used[2], failed.tolist()) == (3, [0, 0, 0b111, 0])
    with pytest.raises(InferenceError, match="all 3 sub-models failed for 1 of 4"):
        net(as_images(said))


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
