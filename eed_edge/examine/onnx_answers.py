"""Check that the ONNX export of a network answers as the network does, for one image and for several."""

import dataclasses
import re
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from eed_edge.errors import BundleError, ExportError
from eed_edge.export.network_graph import INPUT, OUTPUT, as_bytes, to_model
from eed_edge.runtime.bundle.admit import admit
from eed_edge.runtime.bundle.limits import DEFAULT_LIMITS
from eed_edge.train.networks.build import Classifier
from eed_edge.train.networks.entered_layers import NETWORK_FORWARD, entered_layers

SCOPES = "pkg.torch.onnx.name_scopes"
TOLERANCE = 1e-3
"""Largest difference of logits, as a share of the largest one."""


def onnx_faults(net: Classifier, images: Tensor, *, team: int = 1) -> list[str]:
    """Why the network cannot be exported or admitted to a bundle, or how its answers differ, a line each.

    Args:
        team: number of members, which share the limits of a bundle equally.
    """
    net, images = net.cpu(), images.cpu().contiguous()
    try:
        with entered_layers(net) as entered:
            graph = to_model(net, images[:1])
        layers = _layers_of_nodes(graph, net)
        model = as_bytes(graph)
    except ExportError as error:
        layer = entered.layer if entered.layer != NETWORK_FORWARD else _untranslated_layer(net, images, error)
        return [f"{layer}: {error}"]
    try:
        share = DEFAULT_LIMITS.values // team
        model = admit(model, "", limits=dataclasses.replace(DEFAULT_LIMITS, values=share))
    except BundleError as error:
        reason = str(error).removeprefix(": ").partition("; export the bundle again")[0]
        node = re.match("node '([^']*)': ", reason)
        layer = layers.get(node[1], NETWORK_FORWARD) if node else NETWORK_FORWARD
        return [
            f"{layer}: a bundle cannot hold its ONNX form: {reason.removeprefix(node[0] if node else '')};"
            " compute it with other operations"
        ]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        answers = [session.run([OUTPUT], {INPUT: images[:count].numpy()})[0] for count in (1, len(images))]
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return [f"onnxruntime cannot run the exported network: {reason:.150}; use plain modules"]
    with torch.no_grad():
        for answer, count in zip(answers, (1, len(images)), strict=True):
            expected = net(images[:count]).numpy()
            if np.abs(answer - expected).max() > TOLERANCE * max(np.abs(expected).max(), 1e-12):
                return [
                    f"the exported network answers otherwise than torch (images: {count});"
                    " avoid Python numbers and branches that depend on the images' values or number"
                ]
    return []


def _untranslated_layer(net: Classifier, images: Tensor, error: BaseException | None) -> str:
    """The layer of the operation without an ONNX form that the error names, or ``NETWORK_FORWARD``."""
    while error is not None and not (node := re.search(r"translating node %(\w+)", str(error))):
        error = error.__cause__
    if error is None or node is None:
        return NETWORK_FORWARD
    shapes = ({0: torch.export.Dim("N", min=1)},)
    with torch.no_grad():
        program = torch.export.export(net, (images[:2].contiguous(),), dynamic_shapes=shapes)
    stacks = [each.meta.get("nn_module_stack") for each in program.graph.nodes if each.name == node[1]]
    inside = [name for stack in stacks if stack for name, _ in stack.values() if name]
    return inside[-1] if inside else NETWORK_FORWARD


def _layers_of_nodes(graph: Any, net: Classifier) -> dict[str, str]:
    """The layer that each node of the graph comes from, by the node's name; the exporter notes it."""
    names = dict(net.named_modules())
    layers = {}
    for node in graph.graph.node:
        scopes = {entry.key: entry.value for entry in node.metadata_props}.get(SCOPES, "[]")
        inside = [name for name in re.findall("'([^']*)'", scopes) if name and name in names]
        layers[node.name] = inside[-1] if inside else NETWORK_FORWARD
    return layers
