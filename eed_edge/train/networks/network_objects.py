"""Registry of networks that a caller passed as objects, by the ``net.arch`` of their recipes."""

import copy
import hashlib
from collections.abc import Callable

from torch import nn

from eed_edge.errors import NetworkError

OBJECT_PREFIX = "given:"
"""Prefix of ``net.arch`` of such a network."""
_networks: dict[str, nn.Module] = {}


def register_network(net: nn.Module) -> str:
    """Register a copy of a network for this process.

    Returns:
        Its ``net.arch``: the name of its class and a digest of the names and shapes of its tensors, so that
        the same network has the same name whatever its weights are.

    Raises:
        NetworkError: it is no ``torch.nn.Module``, or cannot be copied.
    """
    if not isinstance(net, nn.Module):
        raise NetworkError(
            f"network: expected a torch.nn.Module, got {type(net).__name__}; give a network, or name an"
            " architecture by net.arch"
        )
    tensors = [(name, tuple(tensor.shape)) for name, tensor in net.state_dict().items()]
    digest = hashlib.sha256(repr(tensors).encode()).hexdigest()[:8]
    name = f"{OBJECT_PREFIX}{type(net).__name__}-{digest}"
    try:
        _networks[name] = copy.deepcopy(net).cpu()
    except Exception as error:  # copying runs code of the network's parts
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NetworkError(f"network: {type(net).__name__} cannot be copied: {reason}; change it") from error
    return name


def registered_network(arch: str) -> Callable[..., nn.Module]:
    """Return a function that copies the registered network ``arch``.

    Raises:
        NetworkError: no such network is registered in this process.
    """
    if arch not in _networks:
        raise NetworkError(
            f"net.arch {arch!r}: this run was trained from Python with a network given as an object; go on in"
            " Python and give it again, as in eed_edge.export_bundle(run, bundle, network=net)"
        )

    def make(*, classes: int, channels: int, width: int) -> nn.Module:
        return copy.deepcopy(_networks[arch])

    return make
