"""Compute the report's accuracies, intervals and adaptive list from the outcomes of the attacks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Bools
from eed_edge.evaluate.attack_jobs import Job, in_ball
from eed_edge.evaluate.outcome import Outcome
from eed_edge.evaluate.suites import Suite
from eed_edge.report import wilson_interval
from eed_edge.report.names import IN_ADAPTIVE_LIST

Outcomes = Mapping[str, Outcome]
"""Job name to its outcome over all images."""
ADAPTIVE_KINDS = {
    "members": "reweighted PGD",
    "rule": "rule-aware attack",
    "float_rule": "rule-aware attack",
    "bundle": "Square",
}
"""Names of the attacks by their target; on every other one it is APGD."""
ADAPTIVE_SETTINGS = "every l_inf item of the adaptive list, the clean image and all iterates included"


def accuracies(outcomes: Outcomes, suite: Suite, *, singles: list[str], members: int) -> dict[str, Any]:
    """The report's ``accuracy``: a row for ``clean``, for each attack, and for ``adaptive``."""
    rows = verdicts(outcomes, suite, singles=singles, members=members)
    return {kind: figures(row) for kind, row in rows.items()}


def verdicts(
    outcomes: Outcomes, suite: Suite, *, singles: list[str], members: int
) -> dict[str, dict[str, Bools]]:
    """Which images each network classifies correctly: a row for ``clean``, each attack and ``adaptive``.

    An image counts under an attack only if it is also correct when clean; under the strongest attack
    it must also be correct under PGD-20, if that ran.
    """
    clean = outcomes["clean on all"].right
    rows = {"clean": dict(clean)}
    for kind in suite.kinds:
        before = [kind] if kind != suite.strongest or "pgd20" not in suite.kinds else ["pgd20", kind]
        row = {
            name: _all(clean[name], *(outcomes[f"{each} on {name}"].right[name] for each in before))
            for name in singles
        }
        means = [outcomes[f"{each} on mean-{members}"].right["static"] for each in before]
        prefixes = [
            outcomes[f"{each} on mean-{t}"].right["dynamic"] for each in before for t in range(1, members + 1)
        ]
        row |= {"static": _all(clean["static"], *means), "dynamic": _all(clean["dynamic"], *prefixes)}
        rows[kind] = row
    if suite.adaptive:
        rows["adaptive"] = _adaptive_rows(outcomes, singles)
    return rows


def figures(row: Mapping[str, Bools]) -> dict[str, Any]:
    """Accuracy, number of images and Wilson interval of each defence, from ``(n,)`` correctness."""
    return {
        **{name: float(right.mean()) for name, right in row.items()},
        "images": len(next(iter(row.values()))),
        "interval": {name: wilson_interval(right) for name, right in row.items()},
    }


def _adaptive_rows(outcomes: Outcomes, singles: list[str]) -> dict[str, Bools]:
    items = [outcome for name, outcome in outcomes.items() if in_ball(name)]
    return {
        name: _all(*(outcome.right[name] for outcome in items if name in outcome.right))
        for name in (*singles, "static", "dynamic")
    }


def adaptive_accuracy(outcomes: Outcomes, todo: list[Job]) -> dict[str, Any]:
    """The report's ``adaptive``: dynamic accuracy after each item of the list, and dynamic minus static.

    The accuracy of an item includes all items before it, because extra items skip images that are already
    misclassified. Static and dynamic are judged on the same images. If the early-exit rule seems more
    robust than the mean of all members, the attacks probably fail to optimise through the rule.
    """
    clean = outcomes["clean on all"].right
    items, right = [], clean["dynamic"]
    for job in todo:
        outcome = outcomes[job.name]
        if job.kind == "clean" or not in_ball(job.name):
            continue
        right = _all(right, outcome.right["dynamic"])
        items.append(
            {
                "name": _item_name(job),
                "dynamic": float(right.mean()),
                "interval": wilson_interval(right),
                "seconds": round(outcome.seconds, 3),
                "warnings": outcome.warnings,
            }
        )
    rows = _adaptive_rows(outcomes, [])
    dynamic, static = (float(rows[name].mean()) for name in ("dynamic", "static"))
    warning = ""
    if dynamic > static:
        only = int((rows["dynamic"] & ~rows["static"]).sum())
        warning = (
            f"the dynamic rule is right on {100 * (dynamic - static):.1f} points more attacked images than"
            f" the static mean ({only} of {len(rows['dynamic'])} images are right for the rule alone);"
            " either a longer prefix is weaker on them or the attacks do not see through the stop"
        )
    return {
        "images": len(rows["dynamic"]),
        "items": items,
        "dynamic": dynamic,
        "static": static,
        "difference": dynamic - static,
        "warning": warning,
    }


def _item_name(job: Job) -> str:
    what, _, number = job.target.partition("-")
    where = {
        "dense": "the dense base, transferred",
        "dense_int8": "the dense base in int8, transferred",
        "narrow": "the narrow network, transferred",
        "single": "the single pruned network, transferred",
        "mean": f"the mean of the first {number}",
        "member": f"member {number} alone, transferred",
        "float": f"the mean of the first {number} before quantising, replayed",
        "float_rule": "the rule on the members before quantising, replayed",
        "bundle": "the deployed int8 files",
        "gate": "a smooth stand-in for the gate",
        "rule": "the deployed rule",
        "members": "members by their distance from the tie (after MORA)",
    }[what]
    kind = IN_ADAPTIVE_LIST.get(job.kind, job.kind)
    if job.kind == "adaptive":
        kind = ADAPTIVE_KINDS.get(job.target, "APGD")
    return f"{kind} on {where}"


def attack_summary(outcomes: Outcomes, suite: Suite) -> dict[str, Any]:
    """The report's ``attacks``: settings, seconds and AutoAttack's warnings, by kind."""
    summary: dict[str, Any] = {}
    for kind in (*suite.kinds, *(["adaptive"] if suite.adaptive else [])):
        of_kind = {name: outcome for name, outcome in outcomes.items() if name.startswith(f"{kind} on ")}
        summary[kind] = {
            "settings": _settings(suite, kind, outcomes),
            "seconds": round(sum(outcome.seconds for outcome in of_kind.values()), 3),
            "warnings": [f"{name}: {text}" for name, outcome in of_kind.items() for text in outcome.warnings],
        }
    return summary


def _settings(suite: Suite, kind: str, outcomes: Outcomes) -> str:
    if kind in suite.kinds:
        return suite.kinds[kind].description
    extra = [suite.extra, suite.members, suite.rule]
    if "adaptive on bundle" in outcomes:
        extra.append(suite.square)
    return "; ".join([ADAPTIVE_SETTINGS, *(attack.description for attack in extra)])


def prefix_accuracies(
    outcomes: Outcomes, suite: Suite, labels: NDArray[np.int64], *, members: int
) -> dict[str, Any]:
    """Accuracy of each prefix mean without early exit, on images attacked against that prefix.

    Returns:
        ``{clean|<kind>: {images, right, interval}}``, the last two with one entry per prefix length.
    """
    rows: dict[str, list[Bools]] = {kind: [] for kind in ("clean", *suite.kinds)}
    for t in range(1, members + 1):
        clean = outcomes["clean on all"].prefix_correct(t, labels)
        rows["clean"].append(clean)
        for kind in suite.kinds:
            under_attack = outcomes[f"{kind} on mean-{t}"].right[f"mean-{t}"]
            before = rows["pgd20"][-1] if kind == suite.strongest and "pgd20" in rows else clean
            rows[kind].append(under_attack & before)
    return {
        kind: {
            "images": len(labels),
            "right": [float(right.mean()) for right in each],
            "interval": [wilson_interval(right) for right in each],
        }
        for kind, each in rows.items()
    }


def _all(*verdicts: Bools) -> Bools:
    together: Bools = np.logical_and.reduce(verdicts)
    return together
