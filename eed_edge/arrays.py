"""Array types used everywhere, by what they hold."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
"""Images in [0, 1], logits, probabilities."""
Doubles = NDArray[np.float64]
"""Means and decisions."""
Ints = NDArray[np.int64]
"""Labels, counts, rows."""
Bools = NDArray[np.bool_]
"""Which images."""
Uint8 = NDArray[np.uint8]
"""Pictures."""
