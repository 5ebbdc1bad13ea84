"""Run a small, adversarially robust, early-stopping ensemble of image classifiers on an edge CPU.

::

    import eed_edge

    net = eed_edge.load("bundle")
    prediction = net(images)  # float32 (n, c, h, w) in [0, 1]
    prediction.labels, prediction.submodels_used

Where torch is installed, three calls make a bundle::

    run = eed_edge.train_team("digits-resnet18", run="run")
    eed_edge.export_bundle(run, "bundle")
    eed_edge.evaluate_bundle(run, "bundle")["accuracy"]

The calls are not named ``train``, ``export`` and ``evaluate``, because these are subpackages: importing a
module of one would replace a function of the same name.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eed_edge.runtime import Limits, Prediction, load
    from eed_edge.workflow.compare_shapes import compare_shapes
    from eed_edge.workflow.evaluate_bundle import evaluate_bundle
    from eed_edge.workflow.export_bundle import export_bundle
    from eed_edge.workflow.train_team import train_team

__all__ = [
    "Limits",
    "Prediction",
    "__version__",
    "compare_shapes",
    "evaluate_bundle",
    "export_bundle",
    "load",
    "train_team",
]
__version__ = "0.2.0"

TORCH_CAME_FIRST = "torch" in sys.modules and "GOMP_SPINCOUNT" not in os.environ
# Libraries read these when they are loaded, so they are set here, for Python and the command line alike.
# Idle OpenMP threads of torch sleep soon: with the default, two busy processes slow each other tenfold.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# Without this, official builds of onnxruntime write an id and a database under the home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


_HOMES = {
    **dict.fromkeys(("Limits", "Prediction", "load"), "eed_edge.runtime"),
    **{
        name: f"eed_edge.workflow.{name}"
        for name in ("compare_shapes", "evaluate_bundle", "export_bundle", "train_team")
    },
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:  # on first use: numpy, onnxruntime and torch cost time and memory
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
