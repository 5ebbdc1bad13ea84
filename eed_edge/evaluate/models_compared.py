"""The models compared under attack: dense base, baselines, members' mean, deployed rule."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.train.networks.ensemble import Ensemble

ProgressCallback = Callable[[str, int, int], None]
"""Progress callback: name of the work, steps done, total steps."""


@dataclass(frozen=True)
class ModelsCompared:
    """The networks and the bundle of one run.

    singles: single networks: ``dense``, and the baselines that were trained.
    ensemble: the members as one network, on the attack's device; of an int8 bundle, copies of its files.
    deployed: the bundle, run by onnxruntime as on a device.
    float_members: of an int8 bundle, the members that were quantised, whose attacked images it is shown too.
    """

    singles: Mapping[str, nn.Module]
    ensemble: Ensemble
    deployed: Cascade
    float_members: Ensemble | None = None

    @property
    def dense(self) -> nn.Module:
        """The unpruned base."""
        return self.singles["dense"]

    @property
    def prefixes(self) -> list[Ensemble]:
        """The mean of the first t members, for each t from 1."""
        return [self.ensemble.prefix(t + 1) for t in range(len(self.ensemble.members))]

    def on_cpu(self) -> "ModelsCompared":
        """Move the networks to the CPU in place."""
        return ModelsCompared(
            {name: net.cpu() for name, net in self.singles.items()},
            self.ensemble.cpu(),
            self.deployed,
            None if self.float_members is None else self.float_members.cpu(),
        )


def folded(net: nn.Module) -> nn.Module:
    """Fold batch norm into the convolutions, as in the exported files, which makes attacks faster.

    Returns:
        The same function in evaluation mode; the network itself if ``torch.fx`` cannot trace it.
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
        if type(norm) is not nn.BatchNorm2d or not isinstance(before, fx.Node):
            continue
        name = str(before.target)
        if type(modules.get(name)) is nn.Conv2d and len(before.users) == calls[name] == 1:
            traced.set_submodule(name, fuse_conv_bn_eval(modules[name], norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced
