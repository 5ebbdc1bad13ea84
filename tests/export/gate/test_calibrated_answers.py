"""Temperatures and the abstain threshold of a manifest: batch, single image and single file answer alike."""

import dataclasses

import numpy as np
import pytest

import eed_edge
from eed_edge import manifest as contract
from eed_edge.export.cascade_graph import to_cascade
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.engine.session import open_session
from eed_edge.runtime.engine.single_image import Submodel
from tests.runtime.conftest import as_images, models_answering

MEMBERS, CLASSES = 4, 3
TEMPERATURES = (0.3, 0.6, 2.5, 0.1)
GATES = [
    ("confidence", {"threshold": 0.6}),
    ("confidence", {"threshold": 0.6, "thresholds": (0.9, 0.5, 0.55)}),
    ("agreement", {"votes": 2}),
    ("geometric", {"g": 0.6, "k": 1.0}),
    ("geometric", {"g": 4.0, "k": 3.0}),
]
IMAGES = as_images(np.random.default_rng(0).uniform(0.01, 0.5, (MEMBERS, 200, CLASSES)))
FAILING = as_images(
    np.where(
        np.random.default_rng(2).random((MEMBERS, 200, 1)) < [[[0.4]]] * 3 + [[[0.0]]],
        0,
        np.random.default_rng(3).uniform(0.01, 0.5, (MEMBERS, 200, CLASSES)),
    )
)


def both(tmp_path, rule, parameters, *, cap=None, temperatures=TEMPERATURES, threshold=0.8):
    """The folder's cascade and the single file of one manifest."""
    models, manifest = models_answering(MEMBERS, CLASSES)
    parameters_of_rule = dataclasses.replace(
        manifest.gate.parameters, **{rule: GATE_RULES[rule].parameters_type(**parameters)}
    )
    manifest = dataclasses.replace(
        manifest,
        gate=contract.GateSpec(rule, parameters_of_rule, cap),
        temperatures=temperatures,
        abstain=None if threshold is None else contract.Abstain(threshold, 0.9, 0.9, 0.9),
    )
    (tmp_path / "cascade.onnx").write_bytes(to_cascade(models, manifest))
    folder = Cascade(
        manifest,
        [Submodel(open_session(model, "x"), "logits") for model in models],
        rule=rule,
        parameters=manifest.gate.parameters_of(rule),
        max_submodels=cap or MEMBERS,
    )
    return folder, eed_edge.load(tmp_path / "cascade.onnx")


@pytest.mark.parametrize("images", [IMAGES, FAILING], ids=["all answer", "some fail"])
@pytest.mark.parametrize("cap", [None, 1, 2])
@pytest.mark.parametrize(("rule", "parameters"), GATES)
def test_every_way_to_run_gives_the_same_probabilities_and_abstains_alike(
    tmp_path, rule, parameters, cap, images
):
    if cap:
        images = images[(images[:, 0, :cap] > 0).any(axis=(1, 2))]  # some allowed sub-model answers
    folder, single_file = both(tmp_path, rule, parameters, cap=cap)
    batch, other = folder(images), single_file(images)
    assert 0 < batch.abstained.mean() < 1
    np.testing.assert_array_equal(batch.abstained, batch.probs.max(1) < np.float32(0.8))
    np.testing.assert_array_equal(other.submodels_used, batch.submodels_used)
    np.testing.assert_allclose(other.probs, batch.probs, atol=2e-6)
    clear = np.abs(batch.probs.max(1) - 0.8) > 1e-5
    np.testing.assert_array_equal(other.abstained[clear], batch.abstained[clear])
    for i in range(60):
        one = folder(images[i : i + 1])
        np.testing.assert_allclose(one.probs[0], batch.probs[i], atol=1e-7)
        assert one.abstained.tolist() == batch.abstained[i : i + 1].tolist()


@pytest.mark.parametrize(("rule", "parameters"), GATES)
def test_temperatures_change_neither_labels_nor_stops(tmp_path, rule, parameters):
    warm, warm_file = both(tmp_path, rule, parameters)
    plain, _ = both(tmp_path, rule, parameters, temperatures=None)
    for images in (IMAGES, FAILING):
        expected = plain(images)
        for net in (warm, warm_file):
            answer = net(images)
            np.testing.assert_array_equal(answer.labels, expected.labels)
            np.testing.assert_array_equal(answer.submodels_used, expected.submodels_used)
            assert np.abs(answer.probs - expected.probs).max() > 0.1


def test_without_a_threshold_nothing_abstains_and_the_file_has_no_such_output(tmp_path):
    folder, single_file = both(tmp_path, "confidence", {"threshold": 0.6}, threshold=None)
    assert [node.name for node in single_file.session.get_outputs()][2:] == ["failed_submodels"]
    for net in (folder, single_file):
        for part in (IMAGES, IMAGES[:1], IMAGES[:0]):
            answer = net(part)
            assert (answer.abstained.shape, answer.abstained.dtype) == ((len(part),), bool)
            assert not answer.abstained.any()
