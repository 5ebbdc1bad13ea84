"""Words for a paired difference between two networks."""

from collections.abc import Mapping
from typing import Any, Literal

EQUAL_WITHIN = 0.01
"""Two networks are equal if the whole interval of their difference is at most this far from 0."""
LEVEL = 0.05

Comparison = Literal["more", "less", "equal", "unclear"]
COMPARISON_WORDS: dict[Comparison, str] = {
    "more": "better",
    "less": "worse",
    "equal": f"no measurable difference, equal within {100 * EQUAL_WITHIN:g} point",
    "unclear": "no measurable difference",
}


def comparison(row: Mapping[str, Any]) -> Comparison:
    """Whether the first network of a row of ``paired`` is right more or less often than the other.

    A difference counts if the interval excludes 0 and McNemar's p is below 0.05. Without one, the two are
    ``equal`` only if the interval is within 1 point of 0; few images say nothing.
    """
    low, high = row["interval"]
    if row["p"] < LEVEL and (low > 0 or high < 0):
        return "more" if low > 0 else "less"
    enough = row["only_dynamic"] + row["only_other"] > 0  # an interval without width is none
    return "equal" if enough and max(-low, high) <= EQUAL_WITHIN else "unclear"
