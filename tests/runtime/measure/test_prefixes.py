"""Prefixes against the sub-models by themselves, stops against their shares, and whose report has them."""

import json

import numpy as np
import pytest

from eed_edge.errors import InputError
from eed_edge.provenance import evaluated_digest
from eed_edge.runtime.engine.session import DEFAULT
from eed_edge.runtime.measure.benchmark import open_cascade
from eed_edge.runtime.measure.prefixes import prefix_cascades, recorded_stops, stops_in_shares
from tests.runtime.conftest import softmax


def test_a_prefix_answers_the_mean_of_its_first_sub_models_and_never_stops(tiny):
    cascade = open_cascade(tiny.folder, DEFAULT)
    flat = tiny.images.reshape(len(tiny.images), -1)
    probs = np.stack([softmax(flat @ w + b) for w, b in zip(tiny.weights, tiny.biases, strict=True)])
    prefixes = prefix_cascades(cascade)
    assert len(prefixes) == 3
    for t, prefix in enumerate(prefixes, 1):
        prediction = prefix(tiny.images)
        assert set(prediction.submodels_used) == {t}
        np.testing.assert_allclose(prediction.probs, probs[:t].mean(0), atol=1e-5)
        assert prefix.submodels is cascade.submodels


@pytest.mark.parametrize(
    "shares", [[1.0], [0.5, 0.5], [0.0, 0.7, 0.3], [1 / 3, 1 / 3, 1 / 3], [0.999, 0.001]]
)
@pytest.mark.parametrize("count", [1, 10, 997])
def test_stops_come_in_their_shares_and_in_mixed_order(shares, count):
    stops = stops_in_shares(shares, count)
    assert stops.shape == (count,)
    counts = np.bincount(stops, minlength=len(shares) + 1)[1:]
    assert np.abs(counts - count * np.array(shares)).max() <= 1
    assert all(counts[i] == 0 for i, share in enumerate(shares) if share == 0)
    if count == 997 and max(shares) < 0.9:
        assert np.any(np.diff(stops) < 0)


@pytest.fixture
def attacked(tiny, tmp_path):
    """Writes a report of the bundle's evaluation with these parts into a run."""

    def write(**parts):
        digest = evaluated_digest(tmp_path, tiny.folder).hexdigest()
        (tmp_path / "report.json").write_text(json.dumps({"evaluated": digest} | parts))
        return tmp_path, tiny.folder

    return write


def test_recorded_stops_are_those_of_the_attacks(attacked):
    shares = {"clean": [0.9, 0.1, 0], "pgd20": [0.5, 0.25, 0.25], "slowdown": [0, 0, 1]}
    prediction = recorded_stops(*attacked(curves={"stopping": shares}))
    assert prediction == {"pgd20": [0.5, 0.25, 0.25], "slowdown": [0, 0, 1]}


def test_a_run_without_stops_or_with_those_of_another_bundle_has_none(attacked, tiny, tmp_path):
    assert recorded_stops(tmp_path, tiny.folder) == {}
    assert recorded_stops(*attacked()) == {}
    assert recorded_stops(*attacked(curves={"stopping": {"pgd20": [1, 0, 0]}})) != {}
    (tmp_path / "base.safetensors").write_bytes(b"another base")
    assert recorded_stops(tmp_path, tiny.folder) == {}


@pytest.mark.parametrize(
    "curves", [3, {"stopping": 3}, {"stopping": {"pgd20": "x"}}, {"stopping": {"pgd20": [0, 0]}}]
)
def test_damaged_stops_are_one_clear_line(attacked, curves):
    with pytest.raises(
        InputError, match=r"report\.json: expected curves\.stopping as .*; run eed-edge attack"
    ):
        recorded_stops(*attacked(curves=curves))
