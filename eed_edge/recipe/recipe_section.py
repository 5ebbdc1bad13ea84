"""Base class of a recipe's sections: values are checked against what their fields allow."""

import dataclasses
from dataclasses import field
from typing import Any, ClassVar

from eed_edge.suggestions import expected_one_of


def number(default: Any, low: float, high: float = float("inf")) -> Any:
    """A field that must lie in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high})


def choice(default: str, *allowed: str) -> Any:
    """A field that must be one of these words."""
    return field(default=default, metadata={"allowed": allowed})


class RecipeSection:
    """A part of the recipe whose values are checked against what their fields allow."""

    DEFAULTS: ClassVar = True  # a key that is left out takes its default

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            value, limits = getattr(self, item.name), item.metadata
            if "allowed" in limits and value not in limits["allowed"]:
                raise ValueError(f"{item.name}: {expected_one_of(limits['allowed'], value)}")
            if "low" in limits and not limits["low"] <= value <= limits["high"]:
                raise ValueError(
                    f"{item.name}: expected a number from {limits['low']:g} to {limits['high']:g},"
                    f" got {value!r}"
                )
