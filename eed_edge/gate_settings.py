"""The manifest's gate: when to stop, how that was calibrated, and when an answer abstains."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from eed_edge.manifest_bounds import check_count, require

Rule = Literal["confidence", "agreement", "geometric"]


@dataclass(frozen=True)
class Confidence:
    """Stop when the largest mean probability reaches a threshold; above 1 it never stops early.

    threshold: one for all stops.
    thresholds: one for each sub-model but the last; used instead where there are any.
    """

    threshold: float
    thresholds: tuple[float, ...] | None = field(default=None, metadata={"optional": True})

    def __post_init__(self) -> None:
        for threshold in (self.threshold, *(self.thresholds or ())):
            require(0 <= threshold <= 2, f"threshold must be in [0, 2], got {threshold}")


@dataclass(frozen=True)
class Agreement:
    """Stop when ``votes`` sub-models vote for the class that the mean prefers."""

    votes: int

    def __post_init__(self) -> None:
        require(self.votes >= 1, f"votes must be >= 1, got {self.votes}")


@dataclass(frozen=True)
class Geometric:
    """``q_t = max(m_t)^g * exp(-k * KL(m_t || m_(t-1)))``; 0 from ``g = 1e6`` on: nothing stops early."""

    g: float
    k: float

    def __post_init__(self) -> None:
        require(self.g >= 0 and self.k >= 0, f"g and k must be >= 0, got {self.g} and {self.k}")


@dataclass(frozen=True)
class GateParameters:
    """The calibrated parameters of every rule."""

    confidence: Confidence
    agreement: Agreement
    geometric: Geometric


@dataclass(frozen=True)
class GateSpec:
    """When to stop: the rule in use, the parameters of all, and the default caps (None: no cap)."""

    rule: Rule
    parameters: GateParameters
    max_submodels: int | None = None
    deadline_ms: float | None = None

    def __post_init__(self) -> None:
        cap, deadline = self.max_submodels, self.deadline_ms
        require(cap is None or cap >= 1, f"max_submodels must be null or >= 1, got {cap}")
        require(deadline is None or deadline >= 0, f"deadline_ms must be null or >= 0, got {deadline}")

    def parameters_of(self, rule: str) -> dict[str, Any]:
        """Return the parameters of ``rule`` by name, without those that are not set."""
        parameters = dataclasses.asdict(getattr(self.parameters, rule))
        return {name: value for name, value in parameters.items() if value is not None}


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
class Calibration:
    """How the gate's parameters were chosen and what each rule lost; ``max_drop`` is a fraction."""

    images: int
    attack: str
    max_drop: float
    guarantee: bool
    confidence: RuleLoss
    agreement: RuleLoss
    geometric: RuleLoss

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
