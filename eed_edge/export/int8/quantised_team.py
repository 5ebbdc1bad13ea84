"""A team in int8: its files, how they answer, and a torch copy of each for attacks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eed_edge.arrays import Floats
from eed_edge.export.int8.quantise import quantise
from eed_edge.export.int8.simulated_network import SimulatedNetwork
from eed_edge.export.network_graph import INPUT, OUTPUT
from eed_edge.runtime.engine.session import open_session
from eed_edge.train.networks.ensemble import Ensemble


class OnnxMembers:
    """Members that are ONNX files, answering by onnxruntime; they have no gradients."""

    def __init__(self, models: Sequence[bytes]) -> None:
        self.sessions = [open_session(model, f"submodel-{i}.onnx") for i, model in enumerate(models)]

    def member_logits(self, images: Tensor) -> Tensor:
        """Logits of every member, ``(members, n, k)``."""
        feed = {INPUT: images.detach().cpu().contiguous().numpy()}
        logits = np.stack([session.run([OUTPUT], feed)[0] for session in self.sessions])
        return torch.from_numpy(logits)


@dataclass(frozen=True)
class QuantisedTeam:
    """Sub-models in int8.

    models: the files in running order.
    deployed: the same files as they answer on a device.
    copies: their simulated-quantisation copies, which have gradients.
    """

    models: tuple[bytes, ...]
    deployed: OnnxMembers
    copies: Ensemble


def quantise_team(models: Sequence[bytes], ranges: Floats) -> QuantisedTeam:
    """Quantise every sub-model; arguments and errors as in ``quantise`` and ``SimulatedNetwork``."""
    quantised = tuple(quantise(model, ranges) for model in models)
    return QuantisedTeam(quantised, OnnxMembers(quantised), simulated_team(quantised))


def simulated_team(models: Sequence[bytes]) -> Ensemble:
    """Return the simulated-quantisation copies of files as one network, in evaluation mode."""
    copies = [SimulatedNetwork(model, f"submodel-{i}.onnx") for i, model in enumerate(models)]
    return Ensemble(copies).eval()
