import numpy as np
import pytest

from eed_edge.runtime.engine import cascade as module
from eed_edge.runtime.engine.latency_estimator import LatencyEstimator
from tests.runtime.conftest import as_images, cascade_answering


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only while a sub-model runs."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(module, "perf_counter", lambda: Clock.now)
    return Clock


def timed_cascade(clock, seconds, *, deadline_ms, threshold=2.0):
    """Three sub-models that take so many seconds each by the clock."""
    net = cascade_answering(
        3, 2, rule="confidence", parameters={"threshold": threshold}, deadline_ms=deadline_ms
    )
    for submodel, cost in zip(net.submodels, seconds, strict=True):
        run = submodel.session.run

        def slow(names, feed, run=run, cost=cost):
            clock.now += cost
            return run(names, feed)

        submodel.session.run = slow
    return net


IMAGES = as_images(np.full((3, 4, 2), 0.5, np.float32))


def test_all_submodels_run_when_there_is_time(clock):
    answer = timed_cascade(clock, [0.01, 0.01, 0.01], deadline_ms=31)(IMAGES)
    assert answer.complete
    assert answer.submodels_used.tolist() == [3] * 4


def test_the_next_starts_only_if_its_time_fits(clock):
    answer = timed_cascade(clock, [0.01, 0.01, 0.01], deadline_ms=29)(IMAGES)
    assert not answer.complete
    assert answer.submodels_used.tolist() == [2] * 4
    assert answer.answer_prefix.tolist() == [2] * 4
    assert clock.now == pytest.approx(0.02)


def test_what_was_measured_counts_for_the_next_call(clock):
    net = timed_cascade(clock, [0.01, 0.05, 0.01], deadline_ms=40)
    assert net(IMAGES).submodels_used.tolist() == [2] * 4  # as dear as the first, for all it knew
    clock.now = 0.0
    assert net(IMAGES).submodels_used.tolist() == [1] * 4
    assert clock.now == pytest.approx(0.01)


@pytest.mark.parametrize("count", [1, 4])
def test_the_first_always_runs(clock, count):
    answer = timed_cascade(clock, [0.01, 0.01, 0.01], deadline_ms=0)(IMAGES[:count])
    assert answer.submodels_used.tolist() == [1] * count
    assert not answer.complete


def test_images_that_were_sure_in_time_make_a_complete_answer(clock):
    probs = np.full((3, 4, 2), 0.5, np.float32)
    probs[0] = [0.9, 0.1]
    answer = timed_cascade(clock, [0.01, 0.01, 0.01], deadline_ms=0, threshold=0.8)(as_images(probs))
    assert answer.complete
    assert answer.submodels_used.tolist() == [1] * 4


def test_an_image_without_any_answer_goes_on_past_the_deadline(clock):
    probs = np.full((3, 4, 2), 0.5, np.float32)
    probs[0, 2] = 0
    answer = timed_cascade(clock, [0.01, 0.01, 0.01], deadline_ms=0)(as_images(probs))
    assert answer.submodels_used.tolist() == [1, 1, 2, 1]
    assert answer.failed_submodels == (0,)
    assert not answer.complete


def test_every_chunk_gets_its_share_of_the_time(clock, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    answer = timed_cascade(clock, [0.01, 0.01, 0.01], deadline_ms=40)(IMAGES)
    assert answer.submodels_used.tolist() == [2] * 4


def test_a_short_last_chunk_gets_a_short_share(clock, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 3)
    answer = timed_cascade(clock, [0.01, 0.01, 0.01], deadline_ms=41)(IMAGES)
    assert answer.submodels_used.tolist() == [3, 3, 3, 1]


def test_the_geometric_rule_cut_short_answers_with_the_last_that_ran(clock):
    net = timed_cascade(clock, [0.01, 0.01, 0.01], deadline_ms=25)
    net.rule, net.parameters = "geometric", {"g": 4.0, "k": 0.0}
    probs = np.random.default_rng(0).uniform(0.5, 0.51, (3, 20, 2))
    answer = net(as_images(probs))
    assert (answer.submodels_used.tolist(), answer.answer_prefix.tolist()) == ([2] * 20, [2] * 20)


def test_a_batch_size_not_seen_is_judged_by_others_and_a_submodel_not_seen_by_its_macs():
    estimator = LatencyEstimator([100, 300])
    assert estimator.estimate(0, 1) == 0
    estimator.record(0, 10, 1.0)
    assert estimator.estimate(0, 20) == 2.0
    assert estimator.estimate(0, 5) == 1.0
    assert estimator.estimate(1, 10) == pytest.approx(3.0)


def test_a_rise_counts_at_once_and_a_fall_slowly():
    estimator = LatencyEstimator([1])
    for seconds in (1.0, 3.0, 1.0):
        estimator.record(0, 1, seconds)
    assert 2 < estimator.estimate(0, 1) < 3


def test_one_slow_moment_does_not_shut_a_submodel_out_for_good():
    estimator = LatencyEstimator([1, 1])
    estimator.record(0, 1, 1.0)
    estimator.record(1, 1, 50.0)
    tries = 1
    while not estimator.fits_deadline(1, 1, seconds_left=2.0):
        tries += 1
    assert 50 < tries < 200


def test_one_slow_moment_with_one_number_of_images_does_not_shut_it_out_with_others():
    estimator = LatencyEstimator([100, 100])
    estimator.record(0, 32, 0.0016)
    estimator.record(1, 17, 0.030)
    tries = [estimator.fits_deadline(1, images, 0.018) for images in (8, 9, 10, 11, 12) * 30]
    assert not tries[0]
    assert tries[-1]
