import numpy as np
import pytest

from eed_edge.runtime.engine.session import SessionConfig
from eed_edge.runtime.measure import session_tuning as module
from eed_edge.runtime.measure.session_tuning import grid, tune_session


def test_the_grid_has_every_useful_setting_once_and_the_plainest_first():
    assert grid(1) == [SessionConfig(1, False, True), SessionConfig(1, False, False)]
    assert [config.threads for config in grid(4)] == [1, 1, 2, 2, 2, 2, 4, 4, 4, 4]
    assert {config.threads for config in grid(6)} == {1, 2, 4, 6}
    for cores in (2, 6, 64):
        assert grid(cores)[0] == SessionConfig()
        assert len(set(grid(cores))) == len(grid(cores))
        assert not any(config.spinning for config in grid(cores) if config.threads == 1)


@pytest.mark.parametrize(
    ("costs", "best"),
    [
        ({}, SessionConfig()),
        ({SessionConfig(2): 0.5}, SessionConfig(2)),
        (
            {SessionConfig(2): 0.99, SessionConfig(1, arena=False): 0.995},
            SessionConfig(),
        ),  # near enough: the plainest
        ({SessionConfig(1): 3, SessionConfig(2, True, False): 0.9}, SessionConfig(2, True, False)),
    ],
)
def test_the_fastest_setting_is_first_unless_a_plainer_one_is_as_fast(tiny, monkeypatch, costs, best):
    order = []

    def visit(folder, config, parts):
        order.append(config)
        times = np.full(len(parts), costs.get(config, 1.0))
        times[0] += len(order) == 2  # one slow moment moves nothing
        return times.tolist()

    monkeypatch.setattr(module, "_time_calls", visit)
    results = tune_session(tiny.folder, tiny.images, cores=2, rounds=3)
    assert results[0].config == best
    assert {one.config for one in results} == set(grid(2))
    rest = [one.typical_ms for one in results[1:]]
    assert rest == sorted(rest)
    assert all(order.count(config) == 3 for config in grid(2))
    assert order[0] != order[6]  # nobody is always first


def test_tuning_times_every_image_under_every_setting(tiny):
    results = tune_session(tiny.folder, tiny.images, cores=1, batch=3, rounds=2)
    assert len(results) == 2
    for one in results:
        assert one.typical_ms > 0
        assert 0 < one.summary["p50_ms"] <= one.summary["p90_ms"] <= one.summary["p99_ms"]
