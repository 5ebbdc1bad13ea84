"""The Wilson interval of a share."""

import math
from typing import TYPE_CHECKING

from eed_edge.errors import InputError

if TYPE_CHECKING:
    from eed_edge.arrays import Bools

_Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


def wilson(right: int, images: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share, as fractions.

    Raises:
        InputError: not ``0 <= right <= images``.

    Example:
        >>> low, high = wilson(90, 100)
        >>> f"{low:.3f} to {high:.3f}"
        '0.826 to 0.945'

    Source:
        E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if not 0 <= right <= images:
        raise InputError(f"expected 0 <= right <= images, got {right} of {images}; count again")
    if images == 0:
        return 0.0, 1.0
    share, spread = right / images, _Z95**2 / images
    centre = share + spread / 2
    half = math.sqrt(spread * (share * (1 - share) + spread / 4))
    low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
    return max(0.0, low) if right else 0.0, min(1.0, high) if right < images else 1.0


def wilson_interval(right: "Bools") -> list[float]:
    """Lower and upper end of the Wilson interval of ``(n,)`` outcomes."""
    return list(wilson(int(right.sum()), len(right)))
