"""The baseline ``narrow``: a narrower copy of the base, trained from new weights."""

import copy

import torch

from eed_edge.evaluate.baselines.equal_latency import Baseline, BaselineJob
from eed_edge.evaluate.baselines.latency_match import (
    LatencyMatch,
    LatencyTarget,
    Widths,
    nearest_latency,
    width_ladder,
)
from eed_edge.prune.groups import analyse
from eed_edge.prune.removal import remove_channels
from eed_edge.prune.score_search import ChannelScores
from eed_edge.recipe import Recipe
from eed_edge.seeds import narrow_seed
from eed_edge.train.networks.build import Classifier, build_network


class NarrowNetwork(Baseline):
    """All stages are narrower by about one factor; new weights, the base's learning rate and batch."""

    name = "narrow"
    pruned = False

    def seed(self, recipe_seed: int) -> int:
        """Seed of the initial weights and the training."""
        return narrow_seed(recipe_seed)

    def peak_rate(self, recipe: Recipe) -> tuple[float, int]:
        """As for the base, which starts from new weights too."""
        return recipe.base.lr, recipe.base.batch

    def match(self, job: BaselineJob, target: LatencyTarget) -> tuple[LatencyMatch, Classifier]:
        """Match the latency and build the network."""
        matched = match_uniform(job.base, target, round_to=job.run.recipe.prune.round_to, name=self.name)
        return matched, self.network(job, matched.widths)

    def network(self, job: BaselineJob, widths: Widths) -> Classifier:
        """A network of these widths with new weights."""
        return reinitialised(job.base, widths, job.image, seed=self.seed(job.run.recipe.seed))


def match_uniform(dense: Classifier, target: LatencyTarget, *, round_to: int, name: str) -> LatencyMatch:
    """Match the latency of narrower copies of ``dense``; their weights are new and do not matter."""
    image = torch.from_numpy(target.images[:1])
    structure = analyse(dense, image.to(dense.normalise.mean.device))
    return nearest_latency(
        width_ladder(structure, round_to=round_to),
        lambda widths: reinitialised(dense, widths, image, seed=0),
        target,
        name=name,
    )


def reinitialised(dense: Classifier, widths: Widths, image: torch.Tensor, *, seed: int) -> Classifier:
    """Build a network of these widths with new weights and the normalisation of ``dense``."""
    net = build_network(**dense.architecture, seed=seed)
    net.channels_last = dense.channels_last
    structure = analyse(net, image.cpu())
    scores = {group.root: torch.arange(group.channels) for group in structure.groups}
    net = remove_channels(net, structure, ChannelScores(scores, {}), widths)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in net.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    net.normalise = copy.deepcopy(dense.normalise).cpu()
    return net
