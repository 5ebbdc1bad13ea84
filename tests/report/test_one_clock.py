"""The bundle has one mean time, and every part keeps its own ratios."""

import copy

import pytest

from eed_edge.report.one_clock import with_one_clock

REPORT = {
    "latency": {"dynamic": {"mean_ms": 0.2}, "dense": {"mean_ms": 2.0}},
    "submodels_used": {"clean": 1.1},
    "slowdown": {
        "images": 10,
        "uncapped": {
            "clean": {"mean": 1.1, "mean_ms": 0.4, "p99_ms": 1.0},
            "pgd20": {"mean": 2.0, "mean_ms": 0.8, "p99_ms": 1.2},
        },
        "capped": {"max_submodels": 1, "clean": {"mean": 1.0, "mean_ms": 0.25, "p99_ms": 0.5}},
    },
    "curves": {
        "eps": {"rows": [{"eps_255": 1.0}]},
        "threshold": {
            "rows": [
                {"threshold": 0.1, "submodels_used": 1.0, "mean_ms": 0.3},
                {"threshold": 0.6, "submodels_used": 1.2, "mean_ms": 0.5},
                {"threshold": 2.0, "submodels_used": 3.0, "mean_ms": 1.5},
            ]
        },
    },
    "narrow": {"mean_ms": 0.19, "target_ms": 0.38, "ratio": 0.5},
}


def times(part):
    """Every time in the part, in order."""
    if isinstance(part, list):
        return [time for each in part for time in times(each)]
    if not isinstance(part, dict):
        return []
    return [
        time
        for key, value in part.items()
        for time in ([value] if key in ("mean_ms", "p99_ms", "target_ms") else times(value))
    ]


def test_the_bundle_s_own_row_of_each_part_has_bench_s_mean_and_all_ratios_stay():
    before = copy.deepcopy(REPORT)
    report = with_one_clock(REPORT)
    assert before == REPORT
    assert report["slowdown"]["uncapped"]["clean"]["mean_ms"] == pytest.approx(0.2)
    assert report["curves"]["threshold"]["rows"][1]["mean_ms"] == pytest.approx(0.2)  # nearest to 1.1: 1.2
    assert report["narrow"] == pytest.approx({"mean_ms": 0.1, "target_ms": 0.2, "ratio": 0.5})
    for name in ("slowdown", "curves", "narrow"):
        factors = [new / old for new, old in zip(times(report[name]), times(REPORT[name]), strict=True)]
        assert factors == pytest.approx([factors[0]] * len(factors))
    assert report["latency"] == REPORT["latency"]
    assert report["curves"]["eps"] == REPORT["curves"]["eps"]


def test_the_deployed_row_is_taken_where_it_is_marked():
    report = copy.deepcopy(REPORT)
    report["curves"]["threshold"]["rows"][2]["deployed"] = True
    rescaled = with_one_clock(report)
    assert rescaled["curves"]["threshold"]["rows"][2]["mean_ms"] == pytest.approx(0.2)


def test_what_was_not_measured_or_is_damaged_stays_as_it_is():
    without = {key: value for key, value in REPORT.items() if key != "latency"}
    assert with_one_clock(without) == without
    odd = {**REPORT, "slowdown": 3, "curves": {"threshold": {"rows": []}}, "narrow": {"target_ms": 0}}
    assert with_one_clock(odd) == odd
    huge = {**REPORT, "latency": {"dynamic": {"mean_ms": 10**400}}}
    assert with_one_clock(huge) == huge
