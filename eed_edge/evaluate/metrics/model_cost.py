"""Parameters, multiply-accumulates and bytes of the team and of the dense base."""

from typing import Any

import torch

from eed_edge.manifest import DENSE_FILE, DENSE_INT8_FILE, Manifest
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.train.networks.build import Classifier


def costs(dense: Classifier, manifest: Manifest) -> dict[str, Any]:
    """The report's ``cost`` and ``sparsity``.

    ``sparsity`` is the smaller of the shares of parameters and of MACs that all members together
    do without. Bytes of the dense base are those of its ONNX file, or four a parameter without one;
    those of the base in int8 stand beside them where the bundle has that file.
    """
    params, macs = count_cost(dense, torch.zeros(1, *manifest.input.size))
    each = [{"params": s.params, "macs": s.macs, "bytes": s.bytes} for s in manifest.submodels]
    ensemble = {key: sum(one[key] for one in each) for key in ("params", "macs", "bytes")}
    file, int8 = manifest.files.get(DENSE_FILE), manifest.files.get(DENSE_INT8_FILE)
    base = {"params": params, "macs": macs, "bytes": file.bytes if file else 4 * params}
    cost: dict[str, dict[str, Any]] = {
        key: {"dense": base[key], "ensemble": ensemble[key], "each": [one[key] for one in each]}
        for key in base
    }
    if int8:
        cost["bytes"]["dense_int8"] = int8.bytes
    return {
        "cost": cost,
        "sparsity": 1 - max(ensemble[key] / base[key] for key in ("params", "macs")),
    }
