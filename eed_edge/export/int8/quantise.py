"""Quantise an exported network: uint8 activations and int8 weights, with ranges measured on images.

``quantize_static`` of onnxruntime, in its QDQ form. Activations are uint8, since onnxruntime has fast kernels
for uint8 times int8 on x86 and runs int8 activations slower than float there. Weights are int8, a scale for
each channel, and stay within 7 bits: without VNNI the processor adds two products in 16 bits, and full range
would overflow. The first and the last layer stay float: that is faster and closer to the float network.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from eed_edge.arrays import Floats
from eed_edge.errors import ExportError
from eed_edge.export.network_graph import INPUT, check_network, strip_descriptions

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
BATCH = 32


@dataclass(frozen=True)
class Int8Choices:
    """Settings of the quantisation; ``benchmarks/int8_choices.py`` compares them with others.

    float_layers: which of the layers with weights stay float, by their place; all are quantised where nothing
        would be left.
    reduce_range: keep weights within 7 bits.
    unsigned_activations: activations as uint8, else int8.
    per_channel: a scale for each output channel of a weight, else one in all.
    relus: keep those that a range from 0 on makes superfluous.
    """

    float_layers: Sequence[int] = (0, -1)
    reduce_range: bool = True
    unsigned_activations: bool = True
    per_channel: bool = True
    relus: bool = False


DEFAULT_CHOICES = Int8Choices()


def quantise(model: bytes, images: Floats, *, choices: Int8Choices = DEFAULT_CHOICES) -> bytes:
    """Return the network in int8 as ONNX bytes; equal arguments give equal bytes.

    Args:
        model: as ``to_onnx`` returns it.
        images: ``(n, c, h, w)`` in [0, 1]; an activation's range is from its least to its largest value.

    Raises:
        ExportError: the network cannot be quantised, or the result fails a check.
    """
    parsed = onnx.load_from_string(model)
    layers = [node.name for node in parsed.graph.node if node.op_type in LAYERS]
    float_nodes = {layers[i] for i in choices.float_layers} if layers else set()
    activations = QuantType.QUInt8 if choices.unsigned_activations else QuantType.QInt8
    try:
        with tempfile.TemporaryDirectory() as place, _quiet():
            source, target = Path(place, "float.onnx"), Path(place, "int8.onnx")
            source.write_bytes(model)
            quantize_static(
                source,
                target,
                _Batches(images),
                quant_format=QuantFormat.QDQ,
                activation_type=activations,
                weight_type=QuantType.QInt8,
                per_channel=choices.per_channel,
                reduce_range=choices.reduce_range,
                calibrate_method=CalibrationMethod.MinMax,
                nodes_to_exclude=sorted(float_nodes) if len(layers) > len(float_nodes) else [],
                extra_options={"QDQKeepRemovableActivations": choices.relus},
            )
            made = onnx.load(target)
    except Exception as error:  # its graph surgery can raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ExportError(
            f"onnxruntime cannot quantise the network: {reason:.200}; export without int8"
        ) from error
    _standard_domain_only(made)
    strip_descriptions(made)
    _shorten_names(made.graph)
    check_network(made)
    return bytes(made.SerializeToString(deterministic=True))


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Batches of images, as onnxruntime's calibration reads them."""

    def __init__(self, images: Floats) -> None:
        self.batches = iter([images[at : at + BATCH] for at in range(0, len(images), BATCH)])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self.batches, None)
        return None if batch is None else {INPUT: np.ascontiguousarray(batch)}


def _standard_domain_only(model: Any) -> None:
    """Drop the opsets of other domains, which some versions of the quantiser name and no node uses."""
    standard = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend(standard)


def _shorten_names(graph: Any) -> None:
    """Replace names of tensors and nodes by numbers: the quantiser's take a tenth of a small file."""
    fixed = {value.name for value in (*graph.input, *graph.output)} | {""}
    numbers: dict[str, str] = {}

    def short(name: str) -> str:
        return name if name in fixed else numbers.setdefault(name, f"t{len(numbers)}")

    for i, node in enumerate(graph.node):
        node.name = f"n{i}"
        for names in (node.input, node.output):
            names[:] = [short(name) for name in names]
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser's advice, which goes to the root logger and would add a handler to it."""
    logger, silent = logging.getLogger(), logging.NullHandler()
    level = logger.level
    logger.setLevel(logging.ERROR)
    logger.addHandler(silent)
    try:
        yield
    finally:
        logger.removeHandler(silent)
        logger.setLevel(level)
