"""Suites of an evaluation: which attacks run, and how long."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eed_edge import arguments
from eed_edge.attacks.autoattack import APGD, ShortAPGD
from eed_edge.attacks.interface import Attack
from eed_edge.attacks.registry import QUICK, STANDARD
from eed_edge.attacks.square import Square
from eed_edge.errors import InputError
from eed_edge.evaluate.adaptive.mora import Mora
from eed_edge.evaluate.adaptive.rule_aware import RuleAware


@dataclass(frozen=True)
class Suite:
    """The attacks of an evaluation: rows of the report and extra attacks of the adaptive list.

    kinds: attacks by their row in the report.
    strongest: the kind that stands for the strongest attack on one network.
    extra: attack on single members and on the smooth gate, for the adaptive list.
    members: attack on the members as an ensemble, for the adaptive list.
    rule: attack on the deployed rule, which ends the adaptive list of a float bundle.
    square: attack on an int8 bundle itself, whose gradients rounding hides.
    slowdown_restarts: random starts of each loss of the slowdown attack.
    eps_images: images of the curve over eps, which attacks each of them at five radii.
    complete: every attack runs, and the adaptive list after them, if there are attacks.
    """

    name: str
    kinds: Mapping[str, Attack]
    strongest: str
    extra: Attack
    members: Attack
    rule: RuleAware
    square: Attack
    slowdown_restarts: int
    eps_images: int
    complete: bool = True

    @property
    def adaptive(self) -> bool:
        """Whether the adaptive list runs."""
        return self.complete and bool(self.kinds)


SUITES = {
    "quick": Suite(
        "quick",
        QUICK,
        "apgd",
        ShortAPGD(),
        Mora(steps=20),
        RuleAware(steps=20, restarts=2),
        Square(queries=100),
        1,
        20,
    ),
    "standard": Suite("standard", STANDARD, "autoattack", APGD(), Mora(), RuleAware(), Square(), 5, 500),
    "clean": Suite("clean", {}, "", APGD(), Mora(), RuleAware(), Square(), 0, 0),
}
"""The suites by name; ``clean`` has no attacks, and nothing of what follows from them."""
STRONGEST = {suite.strongest for suite in SUITES.values() if suite.kinds}


def find_suite(name: str, only: Sequence[str] = ()) -> Suite:
    """Return a suite by name, reduced to the attacks in ``only`` unless that is empty.

    Raises:
        InputError: unknown suite, or an attack that the suite does not have.
    """
    suite = SUITES[arguments.one_of("suite", name, SUITES)]
    if only and not suite.kinds:
        raise InputError(f"only: the suite {name} has no attacks; leave it out or take the suite quick")
    if odd := [kind for kind in only if kind not in suite.kinds]:
        raise InputError(
            f"only: the suite {name} has {', '.join(suite.kinds)}, not {odd[0]!r}; name one of these"
        )
    kinds = {kind: attack for kind, attack in suite.kinds.items() if not only or kind in only}
    return dataclasses.replace(suite, kinds=kinds, complete=not only)
