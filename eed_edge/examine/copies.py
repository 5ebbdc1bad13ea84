"""Copies of a network: in memory, through a file, and with layers or weights that have several names."""

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from eed_edge.errors import EedError
from eed_edge.train.networks import checkpoint
from eed_edge.train.networks.build import Classifier


def copy_faults(net: nn.Module) -> list[str]:
    """Why the network cannot be copied, a line each."""
    for name, module in net.named_modules():
        if _computes_weight(module):
            return [
                f"{name}: a hook computes its weight, which cannot be copied; use"
                " torch.nn.utils.parametrizations.weight_norm or spectral_norm"
            ]
    try:
        copy.deepcopy(net)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return [
            f"the network cannot be copied: {reason:.100}; keep only parameters, buffers and plain values in"
            " its attributes"
        ]
    return []


def reload_faults(net: Classifier, images: Tensor) -> list[str]:
    """What differs when the network is saved, built anew from its architecture and loaded, a line each."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        try:
            checkpoint.save_network(path, net, {})
            again, _ = checkpoint.load_network(path, named_arch=str(net.architecture["arch"]))
        except EedError as error:
            text = str(error).replace(f"{path}: ", "")
            return [
                f"the network cannot be saved and loaded: {text}; net.arch has to build it the same"
                " every time"
            ]
    with torch.no_grad():
        before, after = net.eval()(images), again.to(images.device)(images)
    if torch.allclose(before, after, rtol=1e-4, atol=1e-4):
        return []
    return [
        "the network, saved and built anew, gives other logits; keep all numbers that forward uses in"
        " parameters or buffers (register_buffer, persistent)"
    ]


def shared_notes(net: nn.Module) -> Iterator[str]:
    """A line for each layer or weight with several names."""
    names: dict[int, list[str]] = {}
    for name, parameter in net.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    for shared in names.values():
        if len(shared) > 1 and shared[0].endswith("weight"):
            yield f"{' and '.join(shared)} are one tensor and stay so"


def _computes_weight(module: nn.Module) -> bool:
    """Whether a hook computes the weight at every call, as torch.nn.utils.weight_norm does."""
    return isinstance(vars(module).get("weight"), Tensor) and bool(module._forward_pre_hooks)
