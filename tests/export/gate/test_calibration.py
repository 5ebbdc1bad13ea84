"""Calibration against brute force, and the bound against scipy's own test."""

import numpy as np
import pytest
from scipy.stats import binomtest

from eed_edge.export.gate import calibration
from eed_edge.export.gate.calibration import MemberProbs, calibrate
from eed_edge.gate_rules.confidence_rule import NEVER_STOP
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.recipe import Gate
from eed_edge.runtime.gates.replay import replay_rule


def answers(images: int = 400, members: int = 3, seed: int = 0, skill: float = 2.0) -> MemberProbs:
    """Members that are mostly right, and less so under attack."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, images)

    def probabilities(strength: float) -> np.ndarray:
        logits = rng.normal(0, 1, (members, images, 5)) + strength * np.eye(5)[labels]
        powers = np.exp(logits)
        return (powers / powers.sum(2, keepdims=True)).astype(np.float32)

    return MemberProbs(probabilities(skill), tuple(probabilities(skill / 2) for _ in range(members)), labels)


def lost(probs: np.ndarray, thresholds: list[float], labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Which images the confidence rule loses, and how many sub-models it runs, one image at a time."""
    dropped, used = np.zeros(len(labels), bool), 0
    for j, label in enumerate(labels):
        for t in range(1, len(probs) + 1):
            mean = probs[:t, j].mean(0)
            if t == len(probs) or mean.max() >= thresholds[t - 1]:
                break
        used += t
        dropped[j] = probs[:, j].mean(0).argmax() == label != mean.argmax()
    return dropped, used / len(labels)


def test_recorded_losses_equal_a_walk_image_by_image():
    recorded = answers()
    setting = calibrate(recorded, Gate(max_drop=0.02))["confidence"]
    thresholds = setting.parameters["thresholds"]
    clean, used = lost(recorded.clean, thresholds, recorded.labels)
    assert (setting.lost_clean, setting.submodels_used) == pytest.approx((clean.mean(), used))
    attacked = [lost(probs, thresholds, recorded.labels)[0] for probs in recorded.attacked]
    union = np.logical_or.reduce([clean, *attacked])
    assert setting.lost_attacked == pytest.approx(union.mean())
    assert union.sum() > max(each.sum() for each in attacked)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rule", ["confidence", "agreement", "geometric"])
def test_the_chosen_setting_loses_no_more_than_allowed_and_saves_work(rule, seed):
    setting = calibrate(answers(seed=seed), Gate(max_drop=0.02))[rule]
    assert max(setting.lost_clean, setting.lost_attacked) <= 0.02
    assert setting.submodels_used <= 3


def test_no_threshold_on_the_grid_is_cheaper_within_the_limit():
    recorded = answers()
    setting = calibrate(recorded, Gate(max_drop=0.02))["confidence"]
    for threshold in np.linspace(0, 1, 101):
        losses = [
            lost(probs, [threshold] * 2, recorded.labels) for probs in (recorded.clean, *recorded.attacked)
        ]
        if np.logical_or.reduce([dropped for dropped, _ in losses]).mean() <= 0.02:
            assert losses[0][1] >= setting.submodels_used - 1e-9


def test_thresholds_lie_midway_between_the_neighbouring_confidences_of_their_stop():
    recorded = answers()
    parameters = calibrate(recorded, Gate(max_drop=0.02))["confidence"].parameters
    means = [np.cumsum(p, 0) / np.arange(1, 4)[:, None, None] for p in (recorded.clean, *recorded.attacked)]
    stops = np.concatenate([mean.max(2) for mean in means], axis=1)
    places = [(parameters["threshold"], stops), *zip(parameters["thresholds"], stops, strict=False)]
    for threshold, values in places:
        above = values[values > threshold].min()
        below = values[values < threshold].max()
        assert threshold == pytest.approx((above + below) / 2, abs=1e-6)


@pytest.mark.parametrize(("fails", "images"), [(0, 100), (3, 500), (10, 40), (40, 40)])
def test_the_bound_is_the_one_sided_clopper_pearson_bound(fails, images):
    expected = binomtest(fails, images, alternative="less").proportion_ci(0.95, "exact").high
    assert calibration.upper_bound(fails, images) == pytest.approx(expected)


@pytest.mark.parametrize("max_drop", [0.005, 0.01, 0.05])
def test_the_images_needed_are_the_fewest_that_can_show_the_bound(max_drop):
    needed = calibration.images_needed(max_drop)
    assert calibration.upper_bound(0, needed) <= max_drop < calibration.upper_bound(0, needed - 1)


def test_a_guarantee_holds_the_bound_and_too_few_images_run_all_members(caplog):
    enough = calibrate(answers(images=1500, skill=4.0), Gate(max_drop=0.03, guarantee=True))["confidence"]
    assert enough.upper_bound <= 0.03
    assert enough.submodels_used < 3
    few = calibrate(answers(images=50), Gate(max_drop=0.005, guarantee=True))
    assert few["confidence"].parameters["threshold"] == NEVER_STOP
    assert {rule: one.submodels_used for rule, one in few.items()} == dict.fromkeys(few, 3.0)
    assert "50 calib images cannot guarantee a drop of 0.005: at least 598 are needed" in caplog.text


@pytest.mark.parametrize("guarantee", [False, True])
def test_under_a_cap_the_settings_stay_and_the_figures_are_those_of_the_cap(caplog, guarantee):
    recorded = answers(images=1500, skill=4.0)
    gate = Gate(max_drop=0.03, guarantee=guarantee)
    free, capped = calibrate(recorded, gate), calibrate(recorded, gate, max_submodels=1)
    for rule, one in capped.items():
        assert one.parameters == free[rule].parameters
        assert one.submodels_used == 1
        mean, first = recorded.clean.mean(0).argmax(1), recorded.clean[0].argmax(1)
        assert one.lost_clean == pytest.approx(
            np.mean((mean == recorded.labels) & (first != recorded.labels))
        )
        assert one.lost_attacked > free[rule].lost_attacked
    assert "with at most 1 sub-models the drop is up to 0." in caplog.text
    assert calibrate(recorded, gate, max_submodels=3) == free


def saturated(images: int, seed: int) -> MemberProbs:
    """Three members that answer with exactly 0 and 1, each wrong on its own tenth of the images."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, images)

    def probabilities() -> np.ndarray:
        wrong = rng.random((3, images)) < 0.1
        return np.eye(5, dtype=np.float32)[np.where(wrong, (labels + 1) % 5, labels)]

    return MemberProbs(probabilities(), tuple(probabilities() for _ in range(3)), labels)


@pytest.mark.parametrize("rule", GATE_RULES)
def test_on_saturated_probabilities_a_guarantee_keeps_its_level_too(rule):
    """Every setting but the first stops each image at once, or at two votes; both lose far too much."""
    truth = saturated(20_000, 0)
    rng, broken = np.random.default_rng(1), 0
    for _ in range(20):
        some = rng.choice(20_000, 1000, replace=False)
        recorded = MemberProbs(
            truth.clean[:, some], tuple(p[:, some] for p in truth.attacked), truth.labels[some]
        )
        setting = calibrate(recorded, Gate(rule=rule, max_drop=0.005, guarantee=True))[rule]
        assert setting.upper_bound <= 0.005
        gate = replay_rule(truth.clean, rule, setting.parameters).labels
        broken += ((truth.clean.mean(0).argmax(1) == truth.labels) & (gate != truth.labels)).mean() > 0.005
    assert broken <= 3  # 1 expected at most; 4 or more has a chance of 2 %


def test_a_limit_met_on_too_few_images_is_warned_of_and_the_price_of_the_guarantee_is_logged(caplog):
    caplog.set_level("INFO")
    recorded = answers(images=300, skill=4.0)
    free = calibrate(recorded, Gate(max_drop=0.005))["confidence"]
    assert "300 calib images cannot guarantee a drop of 0.005: at least 598 are needed" in caplog.text
    assert "new images may lose more" in caplog.text
    caplog.clear()
    recorded = answers(images=1500, skill=4.0)
    free, held = (calibrate(recorded, Gate(max_drop=0.03, guarantee=g))["confidence"] for g in (False, True))
    price = f"would run {held.submodels_used:.2f} instead of {free.submodels_used:.2f} sub-models"
    assert caplog.text.count(price) == 1
    assert free.submodels_used < held.submodels_used < 3
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_bound_above_the_limit_is_warned_of_whatever_the_rule_does(caplog, monkeypatch):
    monkeypatch.setattr(GATE_RULES["agreement"], "calibration_grid", lambda members: [{"votes": 1}])
    calibrate(saturated(1000, 0), Gate(rule="agreement", max_drop=0.005, guarantee=True))
    assert "gate agreement: the drop is up to 0." in caplog.text
    assert "the recipe allows 0.005" in caplog.text


def test_the_guarantee_keeps_its_level_over_many_draws():
    """Of many calibrations, at most 5 % choose thresholds that truly lose more than allowed."""
    truth = answers(images=20_000, seed=99, skill=2.5)
    broken, early, draws = 0, 0, 40
    rng = np.random.default_rng(1)
    for _ in range(draws):
        some = rng.choice(20_000, 300, replace=False)
        recorded = MemberProbs(
            truth.clean[:, some], tuple(p[:, some] for p in truth.attacked), truth.labels[some]
        )
        setting = calibrate(recorded, Gate(max_drop=0.05, guarantee=True))["confidence"]
        early += setting.submodels_used < 3
        lost_in_any = np.zeros(20_000, bool)
        for probs in (truth.clean, *truth.attacked):
            gate = replay_rule(probs, "confidence", setting.parameters).labels
            lost_in_any |= (probs.mean(0).argmax(1) == truth.labels) & (gate != truth.labels)
        broken += lost_in_any.mean() > 0.05
    assert early > 20
    assert broken <= 6  # 2 expected at most; 7 or more has a chance of 0.4 %
