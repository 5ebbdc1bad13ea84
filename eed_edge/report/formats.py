"""Number formats of the report, for people."""

from collections.abc import Mapping, Sequence
from typing import Any

NOTHING = "–"
_SPACE = "\N{NO-BREAK SPACE}"


def percent(share: float | None) -> str:
    """A fraction in [0, 1] in percent with one decimal."""
    return NOTHING if share is None else f"{100 * share:.1f}{_SPACE}%"


def interval(bounds: Sequence[float] | None) -> str:
    """Lower and upper bound of a fraction, in percent; empty without bounds."""
    if bounds is None:
        return ""
    low, high = bounds
    return f"{100 * low:.1f}–{100 * high:.1f}{_SPACE}%"


def points(difference: float) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return f"{_signed(difference)} points"


def points_apart(difference: float) -> str:
    """The size of a difference of two fractions, in percentage points, without its sign."""
    size = abs(100 * difference)
    number = f"{size:.1f}" if size >= 0.05 else f"{size:.2f}"
    return f"{number} point{'' if number == '1.0' else 's'}"


def points_interval(bounds: Sequence[float]) -> str:
    """Lower and upper bound of a difference of two fractions, in percentage points."""
    low, high = bounds
    return f"{_signed(low)} to {_signed(high)}"


def _signed(difference: float) -> str:
    """One decimal; two where one would hide on which side of 0 the difference lies."""
    value = round(100 * difference, 1) or round(100 * difference, 2)
    sign = "+" if value > 0 else "\N{MINUS SIGN}" if value < 0 else ""
    return f"{sign}{abs(value):.{1 if abs(value) >= 0.1 or not value else 2}f}"


def times(ratio: float | None) -> str:
    """A ratio such as a speed-up."""
    return NOTHING if ratio is None else f"{ratio:.2f}×"


def plain(value: float | None) -> str:
    """A number with about three significant digits."""
    if value is None:
        return NOTHING
    size = abs(value)
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{decimals}f}"


def ms(value: float | None) -> str:
    """Milliseconds."""
    return NOTHING if value is None else f"{plain(value)}{_SPACE}ms"


def seconds(value: float | None) -> str:
    """A duration in seconds, minutes or hours."""
    if value is None:
        return NOTHING
    if value < 90:
        return f"{plain(value)}{_SPACE}s"
    minutes = round(value / 60)
    return f"{minutes}{_SPACE}min" if minutes < 90 else f"{minutes // 60}{_SPACE}h {minutes % 60}{_SPACE}min"


def count(number: int) -> str:
    """An integer with thousands separators."""
    return f"{number:,}"


def amount(number: float | None) -> str:
    """Parameters or MACs, in thousands, millions and so on."""
    if number is None:
        return NOTHING
    for unit, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{plain(number / size)}{_SPACE}{unit}"
    return f"{number:g}"


def mib(size: float | None) -> str:
    """Bytes as MiB."""
    return NOTHING if size is None else f"{size / 2**20:.2f}{_SPACE}MiB"


def mebibytes(size: float | None) -> str:
    """Memory that is given in MiB."""
    return NOTHING if size is None else f"{plain(size)}{_SPACE}MiB"


def images(number: int) -> str:
    """The number of images behind a figure."""
    return f"{count(number)} image{'' if number == 1 else 's'}"


def settings(value: Any) -> str:
    """Settings, as text or nested names and values, in one line."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {settings(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(settings, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """A length of time, in a unit that suits it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def memory_size(count: float) -> str:
    """A number of bytes in MiB or GiB."""
    mib = count / 2**20
    return f"{mib:.0f} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"
