"""What every registered gate rule and its twins promise: the same decisions, whatever computes them.

The cases come from the registry and from each rule's own calibration grid, so a new rule is tested by being
registered.
"""

import dataclasses
from dataclasses import fields
from struct import Struct
from types import SimpleNamespace
from typing import get_args

import numpy as np
import onnxruntime
import pytest
import torch

from eed_edge import manifest as contract
from eed_edge.errors import BundleError
from eed_edge.evaluate.adaptive.soft_gates import SOFT_RULES, SmoothGate
from eed_edge.evaluate.adaptive.soft_rule import Sharpness, log_prefix_means
from eed_edge.export.cascade_graph import GATE_GRAPHS, cascade_model, to_cascade
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.runtime.bundle.cascade_gate import check_same_gate
from eed_edge.runtime.gates.margins import near_ties
from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.runtime.gates.single_image_exit import run_single_image
from eed_edge.runtime.gates.softmax import softmax
from tests.runtime.conftest import as_images, models_answering

MEMBERS, CLASSES, IMAGES = 4, 5, 200
SETTINGS = 4  # tried per rule, spread over its calibration grid
SHAPE = ("N", 1, MEMBERS, CLASSES)


def recorded_logits():
    """``(members, n, k)`` in (0, 8), with members that often agree."""
    rng = np.random.default_rng(0)
    probs = 0.6 * rng.random((1, IMAGES, CLASSES)) + 0.4 * rng.random((MEMBERS, IMAGES, CLASSES))
    return 8 * (0.01 + 0.98 * probs).astype(np.float32)


LOGITS = recorded_logits()
PROBS = np.stack([softmax(member)[0] for member in LOGITS])


def grid(rule):
    return GATE_RULES[rule].calibration_grid(MEMBERS)


def clear(rule, parameters):
    """The images whose decisions do not depend on rounding."""
    return ~near_ties(PROBS, rule, parameters, tolerance=1e-3)


def spread(rule):
    """A few settings of the grid, of those under which most decisions are no near-ties."""
    settings = [parameters for parameters in grid(rule) if clear(rule, parameters).mean() > 0.8]
    picks = np.unique(np.linspace(0, len(settings) - 1, SETTINGS).astype(int))
    return [settings[i] for i in picks]


CASES = [(rule, parameters) for rule in GATE_RULES for parameters in spread(rule)]
CASES += [
    ("confidence", {"threshold": 0.5, "thresholds": each})
    for each in ((0.65, 0.3, 2.0), (2.0, 0.6, 0.35), (0.9, 0.5, 0.0))
]


def test_the_thresholds_per_stop_decide_otherwise_than_the_common_one():
    common = replay_rule(PROBS, "confidence", {"threshold": 0.5}).submodels_used
    for rule, parameters in CASES[-3:]:
        used = replay_rule(PROBS, rule, parameters).submodels_used
        assert (used != common).mean() > 0.1
        assert clear(rule, parameters).mean() > 0.8


def test_every_rule_has_its_twins_and_its_place_in_the_manifest():
    names = list(GATE_RULES)
    assert list(GATE_GRAPHS) == list(SOFT_RULES) == names
    assert list(get_args(contract.Rule)) == [field.name for field in fields(contract.GateParameters)] == names


def manifest_with(rule, parameters):
    """The manifest of four sub-models whose gate is this one."""
    models, manifest = models_answering(MEMBERS, CLASSES)
    settings = {rule: GATE_RULES[rule].parameters_type(**parameters)}
    every = dataclasses.replace(manifest.gate.parameters, **settings)
    return models, dataclasses.replace(manifest, gate=contract.GateSpec(rule, every))


@pytest.mark.parametrize(("rule", "parameters"), CASES)
def test_the_manifest_keeps_the_parameters(rule, parameters):
    _, manifest = manifest_with(rule, parameters)
    again = contract.parse_manifest(contract.dump_manifest(manifest))
    assert again.gate == manifest.gate
    assert again.gate.parameters_of(rule) == parameters


@pytest.mark.parametrize("rule", GATE_RULES)
@pytest.mark.parametrize("cap", [None, 2, 1])
def test_a_cascade_has_the_constants_that_the_rule_declares_and_another_setting_has_others(rule, cap):
    made = []
    for parameters in spread(rule)[:2]:
        models, manifest = manifest_with(rule, parameters)
        gate = dataclasses.replace(manifest.gate, max_submodels=cap)
        made.append((models, dataclasses.replace(manifest, gate=gate)))
    (models, manifest), (_, other) = made
    files = dict(zip([entry.file for entry in manifest.submodels], models, strict=True))
    same, changed = (SimpleNamespace(manifest=each, read=files.get) for each in (manifest, other))
    cascade = to_cascade(models, manifest)
    check_same_gate(cascade, manifest, same)
    if (cap or MEMBERS) > 2:
        with pytest.raises(BundleError, match="expected the gate's constants"):
            check_same_gate(cascade, other, changed)


@pytest.mark.parametrize("rule", GATE_RULES)
def test_some_settings_of_the_grid_stop_early_and_none_of_its_parameters_has_another_name(rule):
    used = [replay_rule(PROBS, rule, parameters).submodels_used.mean() for parameters in grid(rule)]
    assert used[0] == max(used) > min(used)  # the safest is the first
    assert any(1 < mean < MEMBERS for mean in used)
    assert all(tuple(parameters) == GATE_RULES[rule].parameter_names for parameters in grid(rule))


def saturated_logits():
    """Every second image has probabilities of exactly 0 and 1 from each member, which often disagree."""
    sharp = LOGITS.copy()
    sharp[:, ::2] *= 1e5
    return sharp


@pytest.mark.parametrize("rule", GATE_RULES)
def test_the_first_setting_of_the_grid_never_stops_early_whatever_the_probabilities(rule):
    logits, first = saturated_logits(), grid(rule)[0]
    probs = np.stack([softmax(member)[0] for member in logits])
    assert (probs[:, ::2].max(2) == 1).all()
    answer = replay_rule(probs, rule, first)
    assert (answer.submodels_used == MEMBERS).all()
    np.testing.assert_allclose(answer.probs, probs.mean(0), atol=1e-6)
    single = [
        run_single_image(
            lambda t, i=i: logits[t, i].tolist(),
            Struct(f"{CLASSES}f"),
            GATE_RULES[rule],
            first,
            max_submodels=MEMBERS,
        )
        for i in range(IMAGES)
    ]
    assert {used for _, used, *_ in single} == {MEMBERS}
    models, _ = models_answering(MEMBERS, CLASSES)
    model = cascade_model(models, rule=rule, parameters=first, image_shape=SHAPE, classes=CLASSES)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    _, used, failed = session.run(None, {"images": as_images(logits / 8)})
    assert (used == MEMBERS).all()
    assert not failed.any()
    gate = SimpleNamespace(rule=rule, max_submodels=MEMBERS, parameters=first)
    soft = SmoothGate(Recorded(logits), gate, sharpness=Sharpness(1e5, 1e5))
    np.testing.assert_allclose(soft(torch.zeros(IMAGES)).exp().numpy(), probs.mean(0), atol=1e-3)


@pytest.mark.parametrize(("rule", "parameters"), CASES)
def test_a_single_image_is_decided_as_in_a_batch(rule, parameters):
    batch, sure = replay_rule(PROBS, rule, parameters), clear(rule, parameters)
    for i in np.flatnonzero(sure):
        mean, used, prefix, failed = run_single_image(
            lambda t, i=i: LOGITS[t, i].tolist(),
            Struct(f"{CLASSES}f"),
            GATE_RULES[rule],
            parameters,
            max_submodels=MEMBERS,
        )
        assert (used, prefix, failed) == (batch.submodels_used[i], batch.answer_prefix[i], [])
        np.testing.assert_allclose(mean, batch.probs[i], atol=1e-6)


@pytest.mark.parametrize(("rule", "parameters"), CASES)
def test_the_onnx_graph_decides_as_the_runtime(rule, parameters):
    models, _ = models_answering(MEMBERS, CLASSES)
    model = cascade_model(models, rule=rule, parameters=parameters, image_shape=SHAPE, classes=CLASSES)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    means, used, failed = session.run(None, {"images": as_images(LOGITS / 8)})
    batch, sure = replay_rule(PROBS, rule, parameters), clear(rule, parameters)
    np.testing.assert_array_equal(used[sure], batch.submodels_used[sure])
    np.testing.assert_allclose(means[sure], batch.probs[sure], atol=1e-5)
    assert not failed.any()


class Recorded(torch.nn.Module):
    """An ensemble that returns recorded logits."""

    def __init__(self, logits):
        super().__init__()
        self.members, self.logits = range(len(logits)), torch.from_numpy(logits)

    def prefix(self, length):
        return Recorded(self.logits[:length].numpy())

    def member_logits(self, images):
        return self.logits


@pytest.mark.parametrize(("rule", "parameters"), CASES)
@pytest.mark.parametrize("cap", [None, 2])
def test_the_torch_twin_at_great_sharpness_decides_as_the_runtime(rule, parameters, cap):
    gate = SimpleNamespace(rule=rule, max_submodels=cap or MEMBERS, parameters=parameters)
    hard = SmoothGate(Recorded(LOGITS), gate, sharpness=Sharpness(1e5, 1e5))
    batch, sure = replay_rule(PROBS, rule, parameters, max_submodels=cap), clear(rule, parameters)
    answer = hard(torch.zeros(IMAGES)).exp().numpy()
    np.testing.assert_allclose(answer[sure], batch.probs[sure], atol=1e-3)


def torch_views():
    log_probs = torch.from_numpy(LOGITS).log_softmax(2)
    log_means = log_prefix_means(log_probs)
    return log_means, log_probs, log_means.argmax(2)


@pytest.mark.parametrize(("rule", "parameters"), CASES)
def test_the_stop_margin_is_positive_exactly_where_the_runtime_stops(rule, parameters):
    margins = SOFT_RULES[rule].stop_margins(*torch_views(), parameters)[:-1].numpy()
    stops = np.concatenate([margins > 0, np.ones((1, IMAGES), bool)])
    batch, sure = replay_rule(PROBS, rule, parameters), clear(rule, parameters)
    np.testing.assert_array_equal(stops.argmax(0)[sure] + 1, batch.submodels_used[sure])


@pytest.mark.parametrize(("rule", "parameters"), CASES)
@pytest.mark.parametrize("allowed", [1, 2, MEMBERS])
def test_the_answer_margin_is_positive_for_the_one_prefix_that_the_runtime_answers_with(
    rule, parameters, allowed
):
    views = (each[:allowed] for each in torch_views())
    margins = SOFT_RULES[rule].answer_margins(*views, parameters).numpy()
    batch = replay_rule(PROBS, rule, parameters, max_submodels=allowed)
    sure = clear(rule, parameters)
    expected = np.arange(1, allowed + 1)[:, None] == batch.answer_prefix
    np.testing.assert_array_equal(margins[:, sure] > 0, expected[:, sure])


@pytest.mark.parametrize(("rule", "parameters"), CASES)
def test_the_slowdown_loss_rises_as_members_become_sure_and_alike(rule, parameters):
    gate = SimpleNamespace(rule=rule, parameters=parameters, max_submodels=MEMBERS)
    alike = torch.from_numpy(np.repeat(LOGITS[:1], MEMBERS, 0))
    unsure, sure = ((sharpness * alike).log_softmax(2) for sharpness in (0.5, 2.0))
    loss = SOFT_RULES[rule].slowdown_loss
    assert loss(unsure, gate) <= loss(sure, gate)


@pytest.mark.parametrize(("rule", "parameters"), CASES)
def test_only_images_near_a_tie_change_when_probabilities_tremble(rule, parameters):
    noise = np.random.default_rng(1).uniform(-2e-5, 2e-5, PROBS.shape).astype(np.float32)
    steady, shaken = (replay_rule(p, rule, parameters) for p in (PROBS, PROBS * (1 + noise)))
    same = (steady.labels == shaken.labels) & (steady.submodels_used == shaken.submodels_used)
    assert same[clear(rule, parameters)].all()


@pytest.mark.parametrize(("rule", "parameters"), CASES)
def test_refined_parameters_give_the_same_answers(rule, parameters):
    refined = GATE_RULES[rule].refine(parameters, [PROBS])
    before, after = (replay_rule(PROBS, rule, each) for each in (parameters, refined))
    np.testing.assert_array_equal(before.labels, after.labels)
    np.testing.assert_array_equal(before.submodels_used, after.submodels_used)
