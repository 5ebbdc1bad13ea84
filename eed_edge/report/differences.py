"""How the deployed team differs from another network: accuracy, robustness and speed, as far as measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import hypot
from typing import Any, Literal

from eed_edge.report import formats
from eed_edge.report.paired_words import COMPARISON_WORDS, comparison

RIVALS = {
    "dense": "the dense network",
    "dense_int8": "the dense network in int8",
    "narrow": "the narrow network",
    "single": "the single pruned network",
}
"""What could be deployed instead of the team."""
HARDEST = {
    "adaptive": "adaptive attacks",
    "autoattack": "AutoAttack",
    "apgd": "APGD",
    "pgd20": "PGD-20",
}
"""Attacks that stand for robustness, hardest first."""
EQUAL_SPEED = 0.05
"""Times that differ by at most this share are equal, as a baseline's that was matched to the bundle."""

Axis = Literal["clean", "robust", "speed"]
DifferenceOutcome = Literal["better", "worse", "same"]
AXES: dict[Axis, str] = {"clean": "clean accuracy", "robust": "robustness", "speed": "speed"}
_OUTCOMES: dict[str, DifferenceOutcome] = {
    "more": "better",
    "less": "worse",
    "equal": "same",
    "unclear": "same",
}


@dataclass(frozen=True)
class Difference:
    """One difference between the team and a rival.

    outcome: of the team; ``same`` where there is no measurable difference.
    amount: for speed, the rival's time over the team's; else team minus rival, a fraction.
    attack: the attack that robustness was measured under, a key of ``HARDEST``, or ``clean``; "" for speed.
    images: the number of images; 0 for speed.
    team, rival: both figures as text.
    interval: of the amount, as text; empty where none was measured.
    equal: the whole interval is so close to 0 that the two are equal.
    """

    axis: Axis
    outcome: DifferenceOutcome
    amount: float
    attack: str
    images: int
    team: str
    rival: str
    interval: str
    equal: bool = False

    def turned(self) -> "Difference":
        """The same difference from the rival's side."""
        outcome: DifferenceOutcome = {"better": "worse", "worse": "better", "same": "same"}[self.outcome]  # type: ignore[assignment]
        amount = 1 / self.amount if self.axis == "speed" else -self.amount
        return replace(self, outcome=outcome, amount=amount, team=self.rival, rival=self.team)

    @property
    def words(self) -> str:
        """The difference in words, such as ``1.3 points less accurate``, or ``no measurable difference``."""
        if self.outcome == "same":
            return COMPARISON_WORDS["equal" if self.equal else "unclear"]
        better = self.outcome == "better"
        if self.axis == "speed":
            ratio = self.amount if better else 1 / self.amount
            return f"{ratio:.2f} times as {'fast' if better else 'slow'}"
        how = f"{formats.points_apart(self.amount)} {'more' if better else 'less'}"
        return f"{how} accurate" if self.axis == "clean" else f"{how} robust under {HARDEST[self.attack]}"


def differences(report: Mapping[str, Any], rival: str) -> tuple[Difference, ...]:
    """The measured differences between the deployed team and ``rival``, in the order of ``AXES``."""
    measured = (_accuracy(report, rival, "clean"), _robustness(report, rival), _speed(report, rival))
    return tuple(each for each in measured if each is not None)


def robustness_attacks(report: Mapping[str, Any]) -> Iterator[str]:
    """The attacks of ``HARDEST`` under which the team was judged, hardest first."""
    accuracy = report.get("accuracy", {})
    return (name for name in HARDEST if "dynamic" in accuracy.get(name, {}))


def _robustness(report: Mapping[str, Any], rival: str) -> Difference | None:
    """Compare under the hardest attack, or a weaker one on more images if that alone shows a difference."""
    measured = [
        each for name in robustness_attacks(report) if (each := _accuracy(report, rival, name)) is not None
    ]
    hardest = next(iter(measured), None)
    if hardest is None:
        return None
    shown = (
        each
        for each in measured
        if each.outcome != "same" and (each is hardest or each.images > hardest.images)
    )
    return next(shown, hardest)


def _accuracy(report: Mapping[str, Any], rival: str, attack: str) -> Difference | None:
    """Compare by the paired interval; in reports without it, by the wider one of two independent shares."""
    figures = report.get("accuracy", {}).get(attack, {})
    if not {"dynamic", rival} <= figures.keys():
        return None
    paired = report.get("paired", {}).get(attack, {}).get(rival)
    if paired is not None:
        how, amount = comparison(paired), paired["difference"]
        spread = formats.points_interval(paired["interval"])
    else:
        amount = figures["dynamic"] - figures[rival]
        low, high = _unpaired_interval(figures, rival)
        how = "more" if low > 0 else "less" if high < 0 else "unclear"
        spread = f"{formats.points_interval((low, high))}, not paired"
    return Difference(
        "clean" if attack == "clean" else "robust",
        _OUTCOMES[how],
        amount,
        attack,
        figures["images"],
        formats.percent(figures["dynamic"]),
        formats.percent(figures[rival]),
        spread,
        how == "equal",
    )


def _unpaired_interval(figures: Mapping[str, Any], rival: str) -> tuple[float, float]:
    """The 95 % interval of dynamic minus rival from the Wilson intervals of both.

    Source:
        R. G. Newcombe, "Interval estimation for the difference between independent proportions", 1998,
        method 10.
    """
    team, other = figures["dynamic"], figures[rival]
    bounds = figures.get("interval", {})
    (low, high), (other_low, other_high) = (bounds.get(name, (0, 1)) for name in ("dynamic", rival))
    difference = team - other
    return (
        difference - hypot(team - low, other_high - other),
        difference + hypot(high - team, other - other_low),
    )


def _speed(report: Mapping[str, Any], rival: str) -> Difference | None:
    """Compare by the median ratio over rounds and its quartiles; in reports without them, by mean times."""
    latency = report.get("latency", {})
    if not {"dynamic", rival} <= latency.keys():
        return None
    ratios = {
        "dense": latency.get("speedups", {}).get("dynamic"),
        "dense_int8": latency.get("speedups_int8", {}).get("dynamic"),
    }
    ratio = ratios.get(rival) or latency.get(f"{rival}_over_dynamic")
    team, other = latency["dynamic"]["mean_ms"], latency[rival]["mean_ms"]
    middle = other / team if ratio is None else ratio["median"]
    low, high = (middle, middle) if ratio is None else (ratio["low"], ratio["high"])
    near = 1 / (1 + EQUAL_SPEED) <= middle <= 1 + EQUAL_SPEED
    outcome: DifferenceOutcome = "same" if near or low <= 1 <= high else "better" if middle > 1 else "worse"
    spread = "" if ratio is None else f"{formats.times(low)} to {formats.times(high)}"
    return Difference("speed", outcome, middle, "", 0, formats.ms(team), formats.ms(other), spread)
