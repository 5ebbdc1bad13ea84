"""An ONNX file, float or int8, as a torch network that rounds as the file does and has gradients to use."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from eed_edge.errors import ExportError
from eed_edge.export.int8.operators import OPERATORS, Operator


class _Step(NamedTuple):
    """One node: its operator with attributes, and the names of its inputs and outputs."""

    operator: Operator
    attributes: Mapping[str, Any]
    inputs: Sequence[str]
    outputs: Sequence[str]
    described: str


class SimulatedNetwork(nn.Module):
    """The network of an ONNX file: images ``(n, c, h, w)`` to logits ``(n, k)``, in float32.

    Differences from onnxruntime are those of rounding: a value within rounding error of two steps of the
    quantiser may fall to the other one.

    Args:
        model: an ONNX file of one input and one output.
        name: the file's name in error messages.

    Raises:
        ExportError: an operator that this copy does not know.
    """

    def __init__(self, model: bytes, name: str) -> None:
        super().__init__()
        graph = onnx.load_from_string(model).graph
        self.input, self.output, self.name = graph.input[0].name, graph.output[0].name, name
        steps = [_step(node, name) for node in graph.node]
        values = {
            each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer
        }
        self.steps = []
        for step in steps:  # values that do not depend on the images, such as the weights, are computed once
            if all(one in values or not one for one in step.inputs):
                values |= self._run_step(step, values)
            else:
                self.steps.append(step)
        self.places: dict[str, str] = {}
        for each in {one for step in self.steps for one in step.inputs} & values.keys():
            self.places[each] = f"constant_{len(self.places)}"
            layout = torch.channels_last if values[each].dim() == 4 else torch.contiguous_format
            self.register_buffer(self.places[each], values[each].contiguous(memory_format=layout))

    def forward(self, images: Tensor) -> Tensor:
        values = {name: getattr(self, place) for name, place in self.places.items()}
        layout = torch.channels_last if images.dim() == 4 else torch.contiguous_format
        values[self.input] = images.contiguous(memory_format=layout)
        for step in self.steps:
            values |= self._run_step(step, values)
        logits: Tensor = values[self.output]
        return logits

    def _run_step(self, step: _Step, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the outputs of a step by name."""
        inputs = [values[name] if name else None for name in step.inputs]
        try:
            outputs = step.operator(inputs, step.attributes)
            return dict(zip(step.outputs, outputs if isinstance(outputs, tuple) else (outputs,), strict=True))
        except (ValueError, LookupError, TypeError, NotImplementedError) as error:
            raise ExportError(
                f"{self.name}: a copy in torch, for attacks, cannot compute {step.described}: {error};"
                " use other layers, or export without int8"
            ) from error


def _step(node: Any, file: str) -> _Step:
    if node.op_type not in OPERATORS:
        raise ExportError(
            f"{file}: a copy in torch, for attacks, knows {len(OPERATORS)} operators, not {node.op_type!r};"
            " use other layers, or export without int8"
        )
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    return _Step(OPERATORS[node.op_type], attributes, list(node.input), list(node.output), node.op_type)
