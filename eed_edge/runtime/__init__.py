"""What runs on the device: numpy and onnxruntime, nothing else."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eed_edge.runtime.bundle.limits import Limits
    from eed_edge.runtime.engine.prediction import Prediction
    from eed_edge.runtime.loading import load

__all__ = ["Limits", "Prediction", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from eed_edge.runtime.loading import load

        return load
    if name == "Limits":
        from eed_edge.runtime.bundle.limits import Limits

        return Limits
    if name == "Prediction":
        from eed_edge.runtime.engine.prediction import Prediction

        return Prediction
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
