"""The manifest's gate: when to stop, how that was calibrated, and when an answer abstains."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from eed_edge.errors import BundleError
from eed_edge.gate_rules.gate_rule import RuleParameters
from eed_edge.gate_rules.rule_names import Rule
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.manifest_bounds import check_count, require

FIRST_RULES = ("confidence", "agreement", "geometric")
"""The rules that every manifest has; it may lack those that came later."""

C = TypeVar("C", bound=type)


def _field_per_rule(kinds: Mapping[str, Any]) -> Callable[[C], C]:
    """Return a class decorator that appends a field for each rule, before ``dataclass`` sees the class."""

    def decorate(cls: C) -> C:
        for rule, kind in kinds.items():
            if rule in FIRST_RULES:
                cls.__annotations__[rule] = kind
            else:
                cls.__annotations__[rule] = kind | None
                setattr(cls, rule, field(default=None, metadata={"optional": True}))
        return cls

    return decorate


@dataclass(frozen=True)
@_field_per_rule({name: rule.parameters_type for name, rule in GATE_RULES.items()})
class GateParameters:
    """The calibrated parameters of every rule: a field for each, None for a later rule that has none."""

    def by_rule(self) -> dict[str, RuleParameters]:
        """Return the parameters of the rules that have some."""
        return {rule: one for rule in GATE_RULES if (one := getattr(self, rule)) is not None}

    def newer_than_schema_1(self) -> list[str]:
        """Return the later rules and the optional parameters that are set."""
        rules = self.by_rule()
        return [rule for rule in rules if rule not in FIRST_RULES] + [
            one.name
            for parameters in rules.values()
            for one in fields(parameters)
            if one.metadata.get("optional") and getattr(parameters, one.name) is not None
        ]


@dataclass(frozen=True)
class GateSpec:
    """When to stop: the rule in use, the parameters of all, and the default caps (None: no cap)."""

    rule: Rule
    parameters: GateParameters
    max_submodels: int | None = None
    deadline_ms: float | None = None

    def __post_init__(self) -> None:
        self.parameters_of(self.rule)
        cap, deadline = self.max_submodels, self.deadline_ms
        require(cap is None or cap >= 1, f"max_submodels must be null or >= 1, got {cap}")
        require(deadline is None or deadline >= 0, f"deadline_ms must be null or >= 0, got {deadline}")

    def parameters_of(self, rule: str) -> dict[str, Any]:
        """Return the parameters of ``rule`` by name, without those that are not set.

        Raises:
            BundleError: the bundle was not calibrated for this rule.
        """
        parameters = self.parameters.by_rule().get(rule)
        if parameters is None:
            raise BundleError(f"the bundle has no parameters of the rule {rule}; export it again")
        return {name: value for name, value in asdict(parameters).items() if value is not None}


@dataclass(frozen=True)
class RuleLoss:
    """Losses of one rule on the calibration images, as fractions, and the mean count of sub-models run.

    Both under the gate's ``max_submodels``, where it has one.

    lost_attacked: lost clean or in any version attacked against a prefix; in schema 1 in the worst version.
    """

    lost_clean: float
    lost_attacked: float
    upper_bound: float
    submodels_used: float

    def __post_init__(self) -> None:
        for name in ("lost_clean", "lost_attacked", "upper_bound"):
            require(0 <= getattr(self, name) <= 1, f"{name} must be in [0, 1], got {getattr(self, name)}")
        require(self.submodels_used >= 1, f"submodels_used must be >= 1, got {self.submodels_used}")


@dataclass(frozen=True)
@_field_per_rule(dict.fromkeys(GATE_RULES, RuleLoss))
class Calibration:
    """How the parameters were chosen and what each rule lost, a field each; ``max_drop`` is a fraction."""

    images: int
    attack: str
    max_drop: float
    guarantee: bool

    def __post_init__(self) -> None:
        check_count(self.images, "images")
        require(0 <= self.max_drop <= 1, f"max_drop must be in [0, 1], got {self.max_drop}")


@dataclass(frozen=True)
class Abstain:
    """Probability below which an answer is to be doubted, and the share of right answers at or above it.

    threshold: of the most probable class, after the temperature of its stop; in [0, 1].
    share: of the right answers on calib that the threshold was to leave, clean and attacked.
    clean, attacked: the share of the right answers on calib that it leaves; attacked by the worst prefix.
    """

    threshold: float
    share: float
    clean: float
    attacked: float

    def __post_init__(self) -> None:
        for name in ("threshold", "share", "clean", "attacked"):
            require(0 <= getattr(self, name) <= 1, f"{name} must be in [0, 1], got {getattr(self, name)}")


def check_temperatures(temperatures: tuple[float, ...] | None, count: int) -> None:
    """Check that there are none, or a positive one for each of ``count`` stops.

    Raises:
        BundleError: another number of them, or one that is not positive.
    """
    if temperatures is not None:
        require(
            len(temperatures) == count,
            f"temperatures must be null or {count}, one for each sub-model, got {len(temperatures)}",
        )
        require(min(temperatures) > 0, f"temperatures must be > 0, got {min(temperatures)}")
