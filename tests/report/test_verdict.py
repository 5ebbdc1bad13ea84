"""The verdict on constructed results, whose answer is known."""

import pytest

from eed_edge.report import wilson
from eed_edge.report.differences import differences
from eed_edge.report.notes_file import BASE_AT_CHANCE
from eed_edge.report.verdict import verdict

IMAGES = 10_000
MS = {"dynamic": 1.0, "dense": 8.0, "dense_int8": 4.0, "narrow": 1.0, "single": 1.0}


def paired(points: float, images: int = IMAGES) -> dict:
    """A difference of so many points; measurable if it is a point or more."""
    share, half = points / 100, 0.005
    p = 0.001 if abs(share) > half else 0.5
    return {
        "difference": share,
        "interval": [share - half, share + half],
        "p": p,
        "only_dynamic": 100,
        "only_other": 100,
    }


def results(*, ms=None, **rivals: tuple[float, float]) -> dict:
    """A report in which the team is ahead of each rival by so many points, clean and under adaptive"
    " attacks."""
    report: dict = {"accuracy": {}, "paired": {}}
    for i, attack in enumerate(("clean", "adaptive")):
        team = (0.9, 0.5)[i]
        rows = {name: team - points[i] / 100 for name, points in rivals.items()}
        report["accuracy"][attack] = {"dynamic": team, **rows, "images": IMAGES}
        report["paired"][attack] = {"images": IMAGES} | {n: paired(p[i]) for n, p in rivals.items()}
    times = MS | (ms or {})
    report["latency"] = {name: {"mean_ms": times[name]} for name in ("dynamic", *rivals)}
    for name in rivals:
        ratio = times[name] / times["dynamic"]
        spread = {"median": ratio, "low": ratio * 0.98, "high": ratio * 1.02}
        key = {"dense": "speedups", "dense_int8": "speedups_int8"}.get(name)
        report["latency"] |= {key: {"dynamic": spread}} if key else {f"{name}_over_dynamic": spread}
    return report


def sentence(report, precision="float32", **notes) -> str:
    return str(verdict(report, precision=precision, notes=notes))


def test_a_team_that_is_better_is_to_be_deployed_instead_of_each_that_it_beats():
    assert sentence(results(dense=(0, 0), narrow=(0, 3.0))) == (
        "Deploy this team instead of the dense network (8.00 times as fast) and the narrow network (3.0"
        " points more robust under adaptive attacks); it is measurably worse in nothing."
    )


@pytest.mark.parametrize("name", ["narrow", "single", "dense", "dense_int8"])
def test_a_rival_that_is_better_is_named_first_whichever_it_is(name):
    others = {other: (1.0, 1.0) for other in ("narrow", "dense") if other != name}
    report = results(ms=dict.fromkeys(MS, 1.0), **others, **{name: (0, -8.6)})
    words = {
        "narrow": "the narrow network",
        "single": "the single pruned network",
        "dense": "the dense network",
        "dense_int8": "the dense network in int8",
    }
    assert sentence(report).startswith(
        f"Deploy {words[name]} instead of this team: it is 8.6 points more robust under adaptive attacks,"
        " with no measurable difference in clean accuracy or speed"
    )


def test_a_rival_that_is_better_by_speed_alone_is_better():
    report = results(dense=(0, 0), single=(0.1, -0.2), ms={"single": 0.75})
    assert sentence(report) == (
        "Deploy the single pruned network instead of this team: it is 1.33 times as fast, with no measurable"
        " difference in clean accuracy or robustness."
    )


def test_of_two_better_rivals_the_more_robust_is_named_and_the_other_too():
    report = results(narrow=(0, -2.0), single=(0, -5.0))
    assert sentence(report).startswith(
        "Deploy the single pruned network instead of this team: it is 5.0 points more"
    )
    assert sentence(report).endswith("; the narrow network would be better than this team, too.")


def test_no_measurable_difference_is_said_so_and_times_within_five_percent_are_equal():
    assert sentence(results(narrow=(0.3, -0.2), ms={"narrow": 1.04})) == (
        "Deploy this team or the narrow network: there is no measurable difference in clean accuracy,"
        " robustness or speed."
    )


def test_the_number_of_few_images_is_said():
    report = results(narrow=(2.0, 0))
    assert "images" not in sentence(report)
    report["accuracy"]["adaptive"]["images"] = 60
    assert sentence(report).endswith(
        "no measurable difference in robustness or speed; accuracy on as few as 60 images."
    )
    report["accuracy"]["clean"]["images"] = 60
    assert sentence(report).endswith("; accuracy on only 60 images.")


def test_equal_within_a_point_is_more_than_no_measurable_difference():
    words = {each.axis: each.words for each in differences(results(narrow=(0, 0)), "narrow")}
    assert words["robust"] == "no measurable difference, equal within 1 point"
    assert words["speed"] == "no measurable difference"


def test_an_equal_rival_is_not_hidden_behind_one_that_the_team_beats():
    assert sentence(results(dense=(0, 0), narrow=(0, 0))).startswith(
        "Deploy this team or the narrow network: there is no measurable difference between the two, and this"
        " team beats the dense network (8.00 times as fast)"
    )
    three = sentence(results(dense=(0, 0), narrow=(0, 0), single=(0, 0)))
    assert three.startswith("Deploy this team, the narrow network or the single pruned network: there is no")


def test_a_trade_is_left_to_the_reader():
    assert sentence(results(dense=(-1.3, 0), narrow=(-1.1, 2.2))) == (
        "It depends on what counts: against the dense network, this team is 8.00 times as fast but 1.3 points"
        " less accurate, with no measurable difference in robustness; against the narrow network, it is 2.2"
        " points more robust under adaptive attacks but 1.1 points less accurate, with no measurable"
        " difference in speed."
    )


def test_without_a_baseline_of_equal_time_it_is_said_that_none_was_measured():
    ending = "; whether one small network would do as well was not measured."
    assert sentence(results(dense=(0, 0))).startswith(
        "Deploy this team instead of the dense network: it is 8.00 times"
    )
    assert sentence(results(dense=(0, 0))).endswith(ending)
    assert not sentence(results(dense=(0, 0), narrow=(0, 2.0))).endswith(ending)


def test_an_int8_bundle_is_called_so_and_is_compared_with_dense_in_int8():
    words = sentence(results(dense=(-1.0, 0), dense_int8=(0, 0), narrow=(0, 2.0)), "int8")
    assert (
        "against the dense network, this int8 team is 8.00 times as fast but 1.0 point less accurate" in words
    )
    assert "it beats the dense network in int8 (4.00 times as fast)" in words


def test_a_base_at_chance_comes_before_every_figure():
    words = sentence(results(dense=(0, 5.0)), **{BASE_AT_CHANCE: "right on 31 %"})
    assert words.startswith(
        "Do not deploy this team: the base network that it was made from is not measurably better"
    )


def test_what_is_missing_for_an_answer_is_named_with_its_command():
    report = results(dense=(0, 0))
    only_speed = sentence({"latency": report["latency"]})
    assert only_speed.startswith(
        "Not enough has been measured to say: no clean accuracy beside another network (eed-"
    )
    assert only_speed.endswith("against the dense network, this team is 8.00 times as fast.")
    del report["latency"]
    assert "no speed beside another network (eed-edge bench --run RUN); against the dense" in sentence(report)
    assert sentence({}).count("eed-edge") == 2


def test_a_run_without_attacks_is_judged_by_accuracy_and_speed():
    report = results(narrow=(2.0, 0))
    del report["accuracy"]["adaptive"]
    assert sentence(report) == (
        "Deploy this team instead of the narrow network: it is 2.0 points more accurate, with no measurable"
        " difference in speed."
    )


def test_a_weaker_attack_on_more_images_counts_where_the_hardest_shows_nothing():
    report = results(narrow=(0, 0))
    report["accuracy"]["adaptive"]["images"] = 200
    report["accuracy"]["pgd20"] = {"dynamic": 0.55, "narrow": 0.52, "images": IMAGES}
    report["paired"]["pgd20"] = {"images": IMAGES, "narrow": paired(3.0)}
    assert "3.0 points more robust under PGD-20" in sentence(report)
    report["accuracy"]["pgd20"]["images"] = 200
    assert "PGD-20" not in sentence(report)


def test_without_paired_figures_the_interval_is_newcombes():
    """Table II of Newcombe, 1998, method 10: 56 of 70 against 48 of 80 gives 0.0524 to 0.3339."""
    shares = {"dynamic": 56 / 70, "dense": 48 / 80}
    interval = {"dynamic": list(wilson(56, 70)), "dense": list(wilson(48, 80))}
    [difference] = differences(
        {"accuracy": {"clean": {**shares, "interval": interval, "images": 70}}}, "dense"
    )
    assert (difference.outcome, difference.interval) == ("better", "+5.2 to +33.4, not paired")
    assert difference.words == "20.0 points more accurate"
    assert difference.turned().words == "20.0 points less accurate"
