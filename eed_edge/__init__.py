"""Run a small, adversarially robust, early-stopping ensemble of image classifiers on an edge CPU.

::

    import eed_edge

    net = eed_edge.load("bundle")
    prediction = net(images)  # float32 (n, c, h, w) in [0, 1]
    prediction.labels, prediction.submodels_used
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eed_edge.runtime import Limits, Prediction, load

__all__ = ["Limits", "Prediction", "__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("Limits", "Prediction", "load"):  # on first use: numpy and onnxruntime cost time and memory
        from eed_edge import runtime

        return getattr(runtime, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
