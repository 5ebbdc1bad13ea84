"""What is compared under attack: the dense base, a narrow network, the members' mean, the deployed rule."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.train.networks.ensemble import Ensemble

Watch = Callable[[str, int, int], None]
"""Called with what is being done, the steps done and the steps in all."""


@dataclass(frozen=True)
class ModelsCompared:
    """The networks and the bundle of one run.

    singles: networks that stand alone: ``dense``, and ``narrow`` where there is one.
    ensemble: the members as one network, for attacks; on the attacker's device.
    deployed: the bundle, run by onnxruntime as a device would.
    """

    singles: Mapping[str, nn.Module]
    ensemble: Ensemble
    deployed: Cascade

    @property
    def dense(self) -> nn.Module:
        """The unpruned base."""
        return self.singles["dense"]

    @property
    def prefixes(self) -> list[Ensemble]:
        """The means of the first 1, 2, … members."""
        return [self.ensemble.prefix(t + 1) for t in range(len(self.ensemble.members))]

    def on_cpu(self) -> "ModelsCompared":
        """The same networks, moved in place."""
        return ModelsCompared(
            {name: net.cpu() for name, net in self.singles.items()}, self.ensemble.cpu(), self.deployed
        )


def folded(net: nn.Module) -> nn.Module:
    """The same function in evaluation mode, batch norm folded into the convolutions as in the exported files.

    Attacks on it take less time. A network that ``torch.fx`` cannot trace comes back as it is.
    """
    net.eval()
    try:
        traced = fx.symbolic_trace(net)
    except Exception:  # tracing runs users' code, which may raise anything
        return net
    modules = dict(traced.named_modules())
    calls = Counter(str(node.target) for node in traced.graph.nodes)
    for node in list(traced.graph.nodes):
        norm, before = modules.get(str(node.target)), node.args[0] if node.args else None
        if not isinstance(norm, nn.BatchNorm2d) or not isinstance(before, fx.Node):
            continue
        name = str(before.target)
        if isinstance(modules.get(name), nn.Conv2d) and len(before.users) == calls[name] == 1:
            traced.set_submodule(name, fuse_conv_bn_eval(modules[name], norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced
