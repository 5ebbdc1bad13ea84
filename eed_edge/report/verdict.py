"""The verdict on a team in one sentence: whether to deploy it, and instead of which network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eed_edge.report import formats
from eed_edge.report.differences import AXES, RIVALS, Axis, Difference, differences
from eed_edge.report.notes_file import BASE_AT_CHANCE

EQUAL_TIME = ("narrow", "single")
"""Rivals that are one network of the team's time: without one, nobody knows whether a team is needed."""
MEASURED_BY: dict[Axis, str] = {"clean": "eed-edge attack", "speed": "eed-edge bench --run RUN"}
"""What an answer needs, and the command that measures it."""

FEW_IMAGES = 1000
"""The number of fewer images is said: they cannot show a small difference."""

Rivals = Mapping[str, Sequence[Difference]]


@dataclass(frozen=True)
class Verdict:
    """The answer and its reasons; together one sentence."""

    answer: str
    why: str

    def __str__(self) -> str:
        return f"{self.answer}{self.why}."


def verdict(report: Mapping[str, Any], *, precision: str, notes: Mapping[str, str]) -> Verdict:
    """Derive the verdict from the differences to every rival that was measured.

    A rival wins if it is measurably better in accuracy, robustness or speed and worse in none of them.

    Args:
        precision: of the bundle, ``float32`` or ``int8``.
        notes: notes on the run, by name.
    """
    team = "this int8 team" if precision == "int8" else "this team"
    if BASE_AT_CHANCE in notes:
        return Verdict(
            f"Do not deploy {team}",
            ": the base network that it was made from is not measurably better than guessing",
        )
    rivals = {name: measured for name in RIVALS if (measured := differences(report, name))}
    axes = {each.axis for measured in rivals.values() for each in measured}
    if missing := [axis for axis in MEASURED_BY if axis not in axes]:
        what = _listed([AXES[axis] for axis in missing], "or")
        how = _listed([MEASURED_BY[axis] for axis in missing])
        known = f"; {_against(team, rivals)}" if rivals else ""
        return Verdict(
            "Not enough has been measured to say", f": no {what} beside another network ({how}){known}"
        )
    by_result = {
        result: {name: each for name, each in rivals.items() if _result(each) == result}
        for result in ("lost", "mixed", "won", "equal")
    }
    answer = _answer(team, *by_result.values())
    unknown = "; whether one small network would do as well was not measured"
    compared = any(name in rivals for name in EQUAL_TIME)
    return Verdict(answer.answer, answer.why + ("" if compared else unknown) + _few_images(rivals))


def _few_images(rivals: Rivals) -> str:
    """A remark if accuracies were compared on few images, else an empty text."""
    images = {each.images for measured in rivals.values() for each in measured if each.images}
    if not images or min(images) >= FEW_IMAGES:
        return ""
    return f"; accuracy on {'only' if len(images) == 1 else 'as few as'} {formats.images(min(images))}"


def _answer(team: str, lost: Rivals, mixed: Rivals, won: Rivals, equal: Rivals) -> Verdict:
    tied = _listed([RIVALS[name] for name in equal], "or")
    if lost:
        best = max(lost, key=lambda name: _lead(lost[name]))
        others = _listed([RIVALS[name] for name in lost if name != best])
        also = f"; {others} would be better than {team}, too" if others else ""
        reason = _described([each.turned() for each in lost[best]])
        return Verdict(f"Deploy {RIVALS[best]} instead of {team}", f": it is {reason}{also}")
    if mixed:
        beaten = f"; it beats {_with_reasons(won)}" if won else ""
        same = f"; {tied} would do as well" if equal else ""
        return Verdict("It depends on what counts", f": {_against(team, mixed)}{beaten}{same}")
    names = _listed([team, *(RIVALS[name] for name in equal)], "or")
    if won and equal:
        same = f"there is no measurable difference between {'the two' if len(equal) == 1 else 'them'}"
        return Verdict(f"Deploy {names}", f": {same}, and {team} beats {_with_reasons(won)}")
    if len(won) == 1:
        [(name, measured)] = won.items()
        return Verdict(f"Deploy {team} instead of {RIVALS[name]}", f": it is {_described(measured)}")
    if won:
        instead = f" instead of {_with_reasons(won)}; it is measurably worse in nothing"
        return Verdict(f"Deploy {team}", instead)
    return Verdict(f"Deploy {names}", f": there is {_described(next(iter(equal.values())))}")


def _lead(measured: Sequence[Difference]) -> tuple[float, ...]:
    """How far a rival is ahead: in robustness first, then in clean accuracy."""
    ahead = {each.axis: -each.amount for each in measured}
    return ahead.get("robust", 0.0), ahead.get("clean", 0.0)


def _result(measured: Sequence[Difference]) -> str:
    outcomes = {each.outcome for each in measured} - {"same"}
    return {0: "equal", 2: "mixed"}.get(len(outcomes)) or ("won" if "better" in outcomes else "lost")


def _described(measured: Sequence[Difference]) -> str:
    """Describe differences, such as ``2.65 times as fast but 1.3 points less accurate``."""
    by_outcome = {
        outcome: _listed([each.words for each in measured if each.outcome == outcome])
        for outcome in ("better", "worse")
    }
    measurable = " but ".join(words for words in by_outcome.values() if words)
    same = _listed([AXES[each.axis] for each in measured if each.outcome == "same"], "or")
    nothing = f"no measurable difference in {same}" if same else ""
    return ", with ".join(words for words in (measurable, nothing) if words)


def _against(team: str, rivals: Rivals) -> str:
    """Describe every comparison, such as ``against the dense network, this team is 2.65 times as fast``."""
    parts: list[str] = []
    for name, measured in rivals.items():
        who = "it" if parts else team
        has = "is" if any(each.outcome != "same" for each in measured) else "has"
        parts.append(f"against {RIVALS[name]}, {who} {has} {_described(measured)}")
    return "; ".join(parts)


def _with_reasons(rivals: Rivals) -> str:
    """List rivals with the team's advantage, such as ``the dense network (2.65 times as fast)``."""
    better = {
        name: _described([each for each in measured if each.outcome == "better"])
        for name, measured in rivals.items()
    }
    return _listed([f"{RIVALS[name]} ({words})" for name, words in better.items()])


def _listed(parts: Sequence[str], word: str = "and") -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}" if parts else ""
