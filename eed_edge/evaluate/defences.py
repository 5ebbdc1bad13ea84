"""What is compared under attack: the dense base, a narrow network, the members' mean, the deployed rule."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eed_edge.runtime.cascade import Cascade
from eed_edge.train.ensemble import Ensemble
from eed_edge.train.nets import Classifier

Bools = NDArray[np.bool_]
Watch = Callable[[str, int, int], None]
"""Called with what is being done, the steps done and the steps in all."""


@dataclass(frozen=True)
class Defences:
    """The networks and the bundle of one run.

    singles: networks that stand alone: ``dense``, and ``narrow`` where there is one.
    ensemble: the members as one network, for attacks; on the attacker's device.
    deployed: the bundle, run by onnxruntime as a device would.
    """

    singles: Mapping[str, Classifier]
    ensemble: Ensemble
    deployed: Cascade

    @property
    def dense(self) -> Classifier:
        """The unpruned base."""
        return self.singles["dense"]

    @property
    def prefixes(self) -> list[Ensemble]:
        """The means of the first 1, 2, … members."""
        return [self.ensemble.prefix(t + 1) for t in range(len(self.ensemble.members))]
