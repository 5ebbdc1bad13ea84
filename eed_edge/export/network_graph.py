"""Export one network as a self-contained ONNX file: any batch size, pinned opset, reproducible bytes."""

import logging
import warnings
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from eed_edge.errors import ExportError
from eed_edge.runtime.bundle.walk.attributes import OPERATORS

OPSET = 18
INPUT, OUTPUT = "images", "logits"


def _reason(error: BaseException) -> str:
    """The first line of the error that was the cause of all others."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).splitlines() or [type(error).__name__])[0]


def to_onnx(net: nn.Module, image: Tensor) -> bytes:
    """Return the network as ONNX bytes; equal weights give equal bytes.

    Args:
        net, image: as in ``to_model``.

    Raises:
        ExportError: torch cannot export the network, or the graph fails a check.
    """
    return as_bytes(to_model(net, image))


def as_bytes(model: Any) -> bytes:
    """The model without descriptions, checked.

    Raises:
        ExportError: the graph fails a check.
    """
    strip_descriptions(model)
    check_network(model)
    return bytes(model.SerializeToString(deterministic=True))


def to_model(net: nn.Module, image: Tensor) -> Any:
    """Return the network as an ``onnx.ModelProto`` with the exporter's descriptions.

    Args:
        net: images ``(n, c, h, w)`` to logits ``(n, k)``; it is put into evaluation mode.
        image: one example ``(1, c, h, w)``.

    Raises:
        ExportError: torch cannot export the network.
    """
    net.eval()
    example = image.repeat(2, 1, 1, 1).contiguous()  # torch would specialise a batch of 1
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return _exported(net, example)
    except Exception as error:
        raise ExportError(
            f"torch cannot export the network to ONNX: {_reason(error)}; use plain modules"
        ) from error
    finally:
        exporter_log.setLevel(level)


def _exported(net: nn.Module, example: Tensor) -> Any:
    """The network's graph, with operators that no bundle may have (Einsum) taken apart if possible."""
    shapes = ({0: torch.export.Dim("N", min=1)},)
    graph = _to_proto(net, (example,), dynamic_shapes=shapes)
    if {node.op_type for node in graph.graph.node} <= OPERATORS.keys():
        return graph
    try:
        program = torch.export.export(net, (example,), dynamic_shapes=shapes)
        return _to_proto(program.run_decompositions())
    except Exception:  # then the operator is named where the graph is judged
        return graph


def _to_proto(source: Any, example: tuple[Tensor, ...] = (), **shapes: Any) -> Any:
    program = torch.onnx.export(
        source,
        example,
        dynamo=True,
        verbose=False,
        external_data=False,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        **shapes,
    )
    assert program is not None
    return program.model_proto


def strip_descriptions(model: Any) -> None:
    """Remove names of source files, stack traces and documentation strings."""
    del model.metadata_props[:]
    model.doc_string = ""
    model.graph.doc_string = ""
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    parts = (model.graph.node, model.graph.input, model.graph.output, model.graph.initializer)
    for item in (item for part in parts for item in part):
        item.doc_string = ""
        del item.metadata_props[:]


def check_network(model: Any) -> None:
    """Check that the graph is valid, of the pinned opset, for any batch size, and in one file.

    Raises:
        ExportError: it is not.
    """
    onnx.checker.check_model(model, full_check=True)
    opset = {entry.domain: entry.version for entry in model.opset_import}
    if opset.get("") != OPSET or set(opset) - {""}:
        raise ExportError(
            f"expected opset {OPSET} of the standard domain only, got {opset}; use standard operators"
        )
    for value in (model.graph.input[0], model.graph.output[0]):
        if not value.type.tensor_type.shape.dim[0].dim_param:
            raise ExportError(
                f"the batch size of {value.name!r} was fixed; in forward, take it from x.shape[0], not from"
                " len(x)"
            )
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ExportError(f"{tensor.name!r} lies outside the file; expected all weights inside")
