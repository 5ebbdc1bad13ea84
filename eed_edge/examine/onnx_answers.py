"""ONNX equals torch: the export of a network answers as the network does, for one image and for several."""

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from eed_edge.errors import ExportError
from eed_edge.export.network_graph import INPUT, OUTPUT, to_onnx
from eed_edge.train.networks.build import Classifier
from eed_edge.train.networks.entered_layers import WHOLE, entered_layers

TOLERANCE = 1e-3
"""Largest difference of logits, as a share of the largest one."""


def onnx_faults(net: Classifier, images: Tensor) -> list[str]:
    """Why the network cannot be exported, or what differs then, a line each."""
    net, images = net.cpu(), images.cpu().contiguous()
    try:
        with entered_layers(net) as entered:
            model = to_onnx(net, images[:1])
    except ExportError as error:
        where = "" if entered.layer == WHOLE else f"{entered.layer}: "
        return [f"{where}{error}"]
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
