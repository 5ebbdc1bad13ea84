"""Names and order of networks, attacks and percentiles, for tables and the HTML page."""

from collections.abc import Iterable

NETWORKS = {
    "dense": "Dense",
    "dense_int8": "Dense int8",
    "narrow": "Narrow",
    "single": "Single",
    "static": "Static",
    "dynamic": "Dynamic",
}
OTHER_BUNDLE = "Other bundle"
"""Another bundle of the same network that was timed beside this one, such as the team in int8."""
TIMED_NETWORKS = (*NETWORKS, "other_bundle", "pgd20", "slowdown", "single_file")
"""What ``bench`` times; an attack's name stands for the deployed rule with its stops under that attack."""
ATTACKS = {
    "clean": "Clean",
    "pgd20": "PGD-20",
    "apgd": "APGD",
    "autoattack": "AutoAttack",
    "cw": "C&W l∞",
    "deepfool": "DeepFool l2",
    "adaptive": "Adaptive",
    "slowdown": "Slowdown",
}
NOT_IN_SUITES = ("clean", "adaptive", "slowdown")
"""Titles that are no attack of a suite."""
IN_ADAPTIVE_LIST = {**ATTACKS, "apgd": "short APGD", "cw": "C&W"}
"""Names of the attacks in the items of the report's adaptive list."""
PERCENTILES = {"p50_ms": "p50", "p90_ms": "p90", "p99_ms": "p99", "mean_ms": "mean"}


def attack_title(name: str) -> str:
    """The title of an attack; one that is not listed keeps its key."""
    return ATTACKS.get(name, name)


def attacks_in_order(present: Iterable[str]) -> list[str]:
    """The listed attacks among ``present`` in their order, then the others in theirs."""
    keys = list(present)
    return [*(name for name in ATTACKS if name in keys), *(name for name in keys if name not in ATTACKS)]
