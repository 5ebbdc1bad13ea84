"""Check the bytes of a model and rebuild them, for onnxruntime, from what was checked."""

import dataclasses
from collections.abc import Iterator, Sequence

from eed_edge.runtime.bundle import onnx_scan
from eed_edge.runtime.bundle.limits import DEFAULT_LIMITS, Limits
from eed_edge.runtime.bundle.onnx_write import write_model
from eed_edge.runtime.bundle.walk.graph_walk import walk_model


def admit(model: bytes, name: str, *, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Parse and walk a model; return it serialised again with only the fields that were checked.

    Args:
        name: the model's name in error messages, such as its file name.

    Raises:
        BundleError: as ``onnx_scan.inspect`` and ``walk_model``.
    """
    parsed = onnx_scan.inspect(model, name, limits=limits)
    walk_model(parsed, name, limits)
    return write_model(parsed.message)


def admit_all(
    models: list[bytes], names: Sequence[str], *, limits: Limits = DEFAULT_LIMITS
) -> Iterator[bytes]:
    """Admit models that belong together: check all before the first is rebuilt; their fields are added up.

    Args:
        models: emptied, so that the bytes of each are freed together with its parsed form.

    Raises:
        BundleError: as ``admit``, for the first that is refused.
    """
    left, judged = limits.values, []
    for name in names:
        parsed = onnx_scan.inspect(
            models.pop(0), name, limits=dataclasses.replace(limits, values=max(left, 1))
        )
        walk_model(parsed, name, limits)
        left -= parsed.values
        judged.append(parsed.message)
    while judged:
        yield write_model(judged.pop(0))
