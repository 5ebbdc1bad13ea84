"""The single file answers as the bundle it was made of, for every rule and any batch."""

import numpy as np
import onnxruntime
import pytest

from eed_edge import manifest as contract
from eed_edge.errors import InferenceError
from eed_edge.export.cascade_graph import to_cascade
from eed_edge.runtime.gates.replay import replay_rule
from tests.export.cascade_models import CASES, CLASSES, IMAGES, manifest_of, run, single_file, with_gate
from tests.runtime.conftest import as_images, cascade_answering, models_answering
from tests.runtime.tiny_onnx import (
    INFINITE_AT_0,
    MINUS_INFINITE_AT_0,
    NAN_AT_0,
    node,
    tensor,
)


@pytest.mark.parametrize(("rule", "parameters"), CASES)
@pytest.mark.parametrize("cap", [None, 2])
def test_the_single_file_decides_as_the_rule_does_on_the_same_probabilities(
    models, probs, rule, parameters, cap
):
    model = to_cascade(models, manifest_of(rule, parameters, max_submodels=cap))
    actual, used = run(model, IMAGES)
    expected = replay_rule(probs, rule, parameters, max_submodels=cap)
    np.testing.assert_array_equal(used, expected.submodels_used)
    np.testing.assert_array_equal(actual.argmax(1), expected.labels)
    np.testing.assert_allclose(actual, expected.probs, atol=1e-5)


def test_some_images_stop_early_and_some_do_not(models, probs):
    used = replay_rule(probs, "confidence", {"threshold": 0.6}).submodels_used
    assert set(used.tolist()) == {1, 2, 3, 4}


@pytest.mark.parametrize(("rule", "parameters"), CASES[::2])
def test_answers_do_not_depend_on_the_batch(models, rule, parameters):
    model = to_cascade(models, manifest_of(rule, parameters))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    together = session.run(None, {"images": IMAGES[:20]})[:2]
    for i in range(20):
        one = session.run(None, {"images": IMAGES[i : i + 1]})
        np.testing.assert_allclose(one[0], together[0][i : i + 1], atol=1e-5)
        assert one[1].tolist() == together[1][i : i + 1].tolist()


@pytest.mark.parametrize(("rule", "parameters"), CASES)
def test_an_empty_batch_has_an_empty_answer(models, rule, parameters):
    model = to_cascade(models, manifest_of(rule, parameters))
    assert b"OneHot" not in model  # for an empty batch onnxruntime 1.20 to 1.26 crashes in it
    actual, used = run(model, IMAGES[:0])
    assert (actual.shape, used.shape) == ((0, CLASSES), (0,))


def test_the_file_names_its_classes_and_its_gate(models):
    model = to_cascade(models, manifest_of("confidence", {"threshold": 0.6}))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    texts = session.get_modelmeta().custom_metadata_map
    assert texts["eed_edge.classes"] == '["a", "b", "c", "d", "e"]'
    assert (
        contract.parse_manifest(texts["eed_edge.manifest"].encode()).gate.parameters.confidence.threshold
        == 0.6
    )


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
    probs = rng.uniform(0.01, 1, (4, 300, 3))
    probs[:3][rng.random((3, 300)) < 0.4] = 0  # all of a row at once, or
    probs[3, ::7, 1] = 0  # a single logit
    probs[2, probs[3, :, 1] == 0] = 0.5  # but never all sub-models
    bundle = cascade_answering(4, 3, rule=rule, parameters=parameters, last=last)
    models, manifest = models_answering(4, 3, last=last)
    net = single_file(tmp_path / "cascade.onnx", models, with_gate(manifest, rule, parameters))
    images = as_images(probs)
    expected, actual = bundle(images), net(images)
    np.testing.assert_array_equal(actual.labels, expected.labels)
    np.testing.assert_array_equal(actual.submodels_used, expected.submodels_used)
    np.testing.assert_allclose(actual.probs, expected.probs, atol=1e-5)
    assert actual.failed_submodels == expected.failed_submodels
    assert len(actual.failed_submodels) > 1
    for t in actual.failed_submodels:
        assert caplog.text.count(f"sub-model {t} is left out: it gave NaN") == 2  # by the bundle and the file
    for i in range(20):
        assert net(images[i : i + 1]).failed_submodels == bundle(images[i : i + 1]).failed_submodels


@pytest.mark.parametrize(("rule", "parameters"), FAILURES)
def test_huge_finite_logits_are_answered_as_by_a_bundle(tmp_path, rule, parameters):
    by = tensor("by", np.array([3e38], np.float32))
    last = [node("Sub", ["y", "four"], ["near_0"]), node("Mul", ["near_0", "by"], ["logits"])]
    more = [by, tensor("four", np.array([4], np.float32))]
    bundle = cascade_answering(3, 4, rule=rule, parameters=parameters, last=last, more=more)
    models, manifest = models_answering(3, 4, last=last, more=more)
    net = single_file(tmp_path / "cascade.onnx", models, with_gate(manifest, rule, parameters))
    images = as_images(np.random.default_rng(0).choice([0.375, 0.5, 0.625], (3, 300, 4)))  # -3e38, 0, 3e38
    expected, actual = bundle(images), net(images)
    with np.errstate(over="ignore"):  # sums like those of unusable logits
        assert np.isinf(bundle.submodels[0].session.run(None, {"images": images})[0].sum(1)).any()
    assert expected.failed_submodels == actual.failed_submodels == ()
    np.testing.assert_array_equal(actual.labels, expected.labels)
    np.testing.assert_array_equal(actual.submodels_used, expected.submodels_used)
    np.testing.assert_allclose(actual.probs, expected.probs, atol=1e-6)


@pytest.mark.parametrize(("rule", "parameters"), FAILURES)
def test_no_usable_submodel_is_nan_in_the_graph_and_an_error_of_load(tmp_path, rule, parameters):
    answers = np.random.default_rng(0).uniform(0.5, 0.6, (3, 4, 3))
    answers[:, 2] = 0
    models, manifest = models_answering(3, 3)
    net = single_file(tmp_path / "cascade.onnx", models, with_gate(manifest, rule, parameters))
    probs, used, failed = net.session.run(None, {"images": as_images(answers)})
    assert np.isnan(probs).all(axis=1).tolist() == [False, False, True, False]
    assert (used[2], failed.tolist()) == (3, [0, 0, 0b111, 0])
    with pytest.raises(InferenceError, match="all 3 sub-models failed for 1 of 4"):
        net(as_images(answers))
