"""The curves against plain loops over images, and what holds for every curve."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from eed_edge.evaluate.metrics import accuracy_curves
from eed_edge.evaluate.models_compared import ModelsCompared
from eed_edge.report import wilson
from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.train.data.batches import Images
from eed_edge.train.networks.ensemble import Ensemble
from tests.attacks import linear

RULES = [
    ("confidence", {"threshold": 0.63}),
    ("agreement", {"votes": 2}),
    ("geometric", {"g": 1.3, "k": 1.0}),
]


def answers(images=120, members=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, images)

    def probabilities(strength):
        powers = np.exp(rng.normal(0, 1, (members, images, 4)) + strength * np.eye(4)[labels])
        return (powers / powers.sum(2, keepdims=True)).astype(np.float32)

    return accuracy_curves.CurveLabels(
        probabilities(2.0), np.stack([probabilities(1.0) for _ in range(members)]), labels
    )


def one_by_one(recorded, threshold, times, last):
    """The confidence rule image by image: clean, attacked, sub-models, milliseconds."""
    totals = np.zeros(4)
    for j, label in enumerate(recorded.labels):
        rights = []
        for probs in (recorded.clean, *recorded.attacked):
            for t in range(1, last + 1):
                mean = probs[:t, j].mean(0, dtype=np.float64)
                if mean.max() >= threshold or t == last:
                    break
            rights.append(mean.argmax() == label)
            if len(rights) == 1:
                totals[2:] += t, times[t - 1]
        totals[:2] += rights[0], all(rights)
    return totals / len(recorded.labels)


@pytest.mark.parametrize("last", [2, 3])
def test_every_row_of_the_threshold_curve_equals_a_walk_image_by_image(last):
    recorded, times = answers(), [1.0, 2.25, 6.0]  # more than in proportion
    gate = SimpleNamespace(rule="confidence", parameters={"threshold": 0.63}, max_submodels=last)
    curve = accuracy_curves.threshold_curve(recorded, gate, times_ms=times)
    assert (curve["rule"], curve["images"]) == ("confidence", 120)
    for row in curve["rows"]:
        expected = one_by_one(recorded, row["threshold"], times, last)
        assert [row[key] for key in ("clean", "attacked", "submodels_used", "mean_ms")] == pytest.approx(
            expected
        )


@pytest.mark.parametrize(("rule", "parameters"), RULES)
def test_the_deployed_setting_is_on_the_curve_and_work_rises_along_it(rule, parameters):
    recorded = answers()
    gate = SimpleNamespace(rule=rule, parameters=parameters, max_submodels=3)
    rows = accuracy_curves.threshold_curve(recorded, gate, times_ms=[1, 2, 3])["rows"]
    name = next(iter(parameters))
    (deployed,) = [row for row in rows if row["threshold"] == parameters[name]]
    answer = replay_rule(recorded.clean, rule, parameters)
    assert deployed["clean"] == (answer.labels == recorded.labels).mean()
    assert deployed["submodels_used"] == deployed["mean_ms"] == answer.submodels_used.mean()
    used = [row["submodels_used"] for row in rows]
    assert used == sorted(used)
    outcomes = {(row["clean"], row["attacked"], row["submodels_used"]) for row in rows}
    assert len(outcomes) == len(rows)
    for row in rows:
        for key in ("clean", "attacked"):
            assert row["interval"][key] == list(wilson(round(120 * row[key]), 120))
    assert all(row["attacked"] <= row["clean"] for row in rows)


def test_thresholds_per_stop_have_a_row_of_their_own_beside_those_of_equal_thresholds():
    recorded, thresholds = answers(), (0.75, 0.4)
    parameters = {"threshold": 0.63, "thresholds": thresholds}
    gate = SimpleNamespace(rule="confidence", parameters=parameters, max_submodels=3)
    rows = accuracy_curves.threshold_curve(recorded, gate, times_ms=[1, 2, 3])["rows"]
    (deployed,) = [row for row in rows if row.get("deployed")]
    answer = replay_rule(recorded.clean, "confidence", parameters)
    assert deployed["thresholds"] == list(thresholds)
    assert deployed["submodels_used"] == answer.submodels_used.mean()
    for row in rows:
        if row is not deployed:
            equal = replay_rule(recorded.clean, "confidence", {"threshold": row["threshold"]})
            assert row["submodels_used"] == equal.submodels_used.mean()
    assert len({row["submodels_used"] for row in rows}) > 5


def test_stopping_shares_are_counted_and_sum_to_one():
    used = np.array([1, 1, 3, 1, 2])
    assert accuracy_curves.stopping_shares(used, members=4) == [0.6, 0.2, 0.2, 0.0]


def test_agreement_counts_equal_labels_pair_by_pair():
    probs = answers(members=4).clean
    agreement = accuracy_curves.member_agreement(probs)
    for i in range(4):
        for j in range(4):
            same = [one.argmax() == other.argmax() for one, other in zip(probs[i], probs[j], strict=True)]
            assert agreement[i][j] == pytest.approx(np.mean(same))
    assert [agreement[i][i] for i in range(4)] == [1, 1, 1, 1]


def test_widths_name_every_layer_and_a_lost_branch_has_none():
    def net(width, branch=True):
        body = nn.Module()
        body.stem = nn.Conv2d(3, width, 3)
        body.branch = nn.Conv2d(width, 2 * width, 1) if branch else None
        body.up = nn.ConvTranspose2d(width, width + 1, 2)
        body.classify = nn.Linear(width, 10)
        network = nn.Module()
        network.body = body
        return network

    assert accuracy_curves.channel_widths(net(8), [net(4), net(2, branch=False)]) == {
        "layers": ["stem", "branch", "up", "classify"],
        "dense": [8, 16, 9, 10],
        "each": [[4, 8, 5, 10], [2, 0, 3, 10]],
    }


def test_robust_diversity_is_taken_from_the_selection_and_left_out_of_older_ones():
    rows = [{"size": 2, "teams": 1, "min": 0.1, "mean": 0.1, "max": 0.1}]
    selection = {"members": ["a", "b"], "rd": 0.1, "rd_by_size": rows}
    curve = accuracy_curves.diversity_curve(selection, threshold=0.7)
    assert curve == {"threshold": 0.7, "rows": rows, "chosen": {"size": 2, "rd": 0.1}}
    assert accuracy_curves.diversity_curve({"members": ["a", "b"], "rd": 0.1}, threshold=0.7) is None


def test_a_prefix_is_timed_as_it_runs_and_not_as_a_sum(models, images_of_test, monkeypatch):
    """What is timed is a call that runs the first t sub-models on the image, whatever the gate says."""
    pixels, seen = images_of_test.images.float() / 255, {}

    def run_each(calls, *, items, rounds):
        for name, call in calls.items():
            seen[name] = {int(call(item).submodels_used[0]) for item in range(items)}
        return {name: np.full((rounds, items), 10.0 * int(name)) for name in calls}

    monkeypatch.setattr(accuracy_curves, "in_blocks", run_each)
    prefix_ms = accuracy_curves.prefix_ms(models.deployed, pixels)
    assert prefix_ms == [10, 20]
    assert seen == {"1": {1}, "2": {2}}
    assert set(models.deployed(pixels.numpy()).submodels_used) == {1, 2}
    monkeypatch.undo()
    assert min(accuracy_curves.prefix_ms(models.deployed, pixels)) > 0


class Deployed:
    """The rule replayed on the members in torch; it stops at the first one where that is sure."""

    def __init__(self, ensemble, threshold):
        self.ensemble, self.parameters = ensemble, {"threshold": threshold}

    def __call__(self, images):
        with torch.no_grad():
            probs = self.ensemble.member_logits(torch.from_numpy(images)).softmax(2).numpy()
        return replay_rule(probs, "confidence", self.parameters)


def test_accuracy_against_eps_is_the_share_beyond_that_distance_for_linear_networks():
    size, eps = (3, 4, 4), 0.02
    dense, member, other = (linear.classifier(2, size, seed=seed) for seed in range(3))
    pixels = torch.randint(90, 166, (300, *size), generator=torch.Generator().manual_seed(0))
    images, labels = pixels / 255, dense(pixels / 255).argmax(1)
    ensemble, seen = Ensemble([member, member]), []
    curve = accuracy_curves.eps_curve(
        ModelsCompared({"dense": dense}, ensemble, Deployed(ensemble, 0.7)),
        Images(pixels.to(torch.uint8), labels),
        eps=eps,
        seed=0,
        on_progress=lambda *row: seen.append(row),
        baselines={"narrow": other},
    )
    distances = {
        name: linear.exact_linf(net, images, labels)
        for name, net in (("dense", dense), ("static", member), ("dynamic", member), ("narrow", other))
    }
    assert curve["images"] == 300
    assert seen[-1] == ("eps", 24, 24)
    for row, share in zip(curve["rows"], (0, 0.25, 0.5, 1, 1.5, 2), strict=True):
        assert row["eps_255"] == pytest.approx(share * eps * 255)
        for name, distance in distances.items():
            assert row[name] == pytest.approx(float((distance > share * eps).float().mean()), abs=0.007)
    assert 0 < curve["rows"][-1]["dense"] < 0.8 < curve["rows"][0]["dense"] == 1


def test_the_eps_curve_counts_what_survives_every_prefix_as_dynamic():
    size, eps = (3, 4, 4), 0.02
    first, second = (linear.classifier(2, size, seed=seed) for seed in (1, 2))
    pixels = torch.randint(90, 166, (500, *size), generator=torch.Generator().manual_seed(0))
    labels = first(pixels / 255).argmax(1)
    ensemble = Ensemble([first, second])
    curve = accuracy_curves.eps_curve(
        ModelsCompared({"dense": second}, ensemble, Deployed(ensemble, 0.0)),  # the first always answers
        Images(pixels.to(torch.uint8), labels),
        eps=eps,
        seed=0,
        on_progress=lambda *_: None,
        baselines={},
    )
    distance = linear.exact_linf(first, pixels / 255, labels)
    assert curve["images"] == 500
    for row, share in zip(curve["rows"], (0, 0.25, 0.5, 1, 1.5, 2), strict=True):
        assert row["dynamic"] == pytest.approx(float((distance > share * eps).float().mean()), abs=0.007)
        assert row["dynamic"] != row["static"]
        assert "narrow" not in row
