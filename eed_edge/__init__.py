"""Run a small, adversarially robust, early-stopping ensemble of image classifiers on an edge CPU.

::

    import eed_edge

    net = eed_edge.load("bundle")
    prediction = net(images)  # float32 (n, c, h, w) in [0, 1]
    prediction.labels, prediction.submodels_used
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eed_edge.runtime import Limits, Prediction, load

__all__ = ["Limits", "Prediction", "__version__", "load"]
__version__ = "0.2.0"

# Libraries read these when they are loaded, so they are set here, for Python and the command line alike.
# Idle OpenMP threads of torch sleep soon: with the default, two busy processes slow each other tenfold.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# Without this, official builds of onnxruntime write an id and a database under the home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    if name in ("Limits", "Prediction", "load"):  # on first use: numpy and onnxruntime cost time and memory
        from eed_edge import runtime

        return getattr(runtime, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
