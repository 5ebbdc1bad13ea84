"""The baseline ``single``: one network pruned from the base as a member is, of the team's mean latency."""

import dataclasses

from eed_edge.atomic_files import write_json
from eed_edge.evaluate.baselines.equal_latency import Baseline, BaselineJob
from eed_edge.evaluate.baselines.latency_match import (
    LatencyMatch,
    LatencyTarget,
    Widths,
    nearest_latency,
    width_ladder,
)
from eed_edge.evaluate.baselines.narrow_network import match_uniform
from eed_edge.pipeline.run_latency_table import recipe_with_run_table
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.prune.groups import analyse
from eed_edge.prune.learned_scores import learned_scores
from eed_edge.prune.member_time import time_budget
from eed_edge.prune.removal import recalibrate, remove_channels
from eed_edge.recipe import Prune, Recipe
from eed_edge.seeds import single_seed
from eed_edge.train.networks import checkpoint
from eed_edge.train.networks.build import Classifier
from eed_edge.train.run_folder import read_json


class SingleNetwork(Baseline):
    """Pruned by the score of the pool's best candidate, learned on all training images."""

    name = "single"
    pruned = True

    def seed(self, recipe_seed: int) -> int:
        """Seed of the score search and the training."""
        return single_seed(recipe_seed)

    def peak_rate(self, recipe: Recipe) -> tuple[float, int]:
        """As for a candidate, which starts from the base's weights too."""
        return recipe.pool.lr, recipe.pool.batch

    def match(self, job: BaselineJob, target: LatencyTarget) -> tuple[LatencyMatch, Classifier]:
        """Learn scores at about the right size, then match the latency of the networks that they give."""
        recipe = recipe_with_run_table(job.run)
        round_to = recipe.prune.round_to
        share_file = job.run.path / "single.share"  # a search that is resumed keeps its size
        if share_file.exists():
            size = read_json(share_file)
        else:
            uniform = match_uniform(job.base, target, round_to=round_to, name=self.name)
            size = _size(job, recipe, uniform.widths)
            write_json(share_file, size)
        sized = dataclasses.replace(recipe, prune=_sized(recipe.prune, **size))
        state = job.run.path / "single.search"
        structure, scores = learned_scores(
            job.base, job.train, best_score(job), recipe=sized, context=job.context(self, state=state)
        )
        matched = nearest_latency(
            width_ladder(structure, scores.keep_ratio, round_to=round_to),
            lambda widths: remove_channels(job.base, structure, scores, widths).cpu(),
            target,
            name=self.name,
        )
        net = remove_channels(job.base, structure, scores, matched.widths)
        recalibrate(net, job.train, batch=recipe.pool.batch)
        checkpoint.save_network(job.run.path / "single.pruned", net, {})
        return matched, net

    def network(self, job: BaselineJob, widths: Widths) -> Classifier:
        """The pruned network as it was saved before its training."""
        net, _ = checkpoint.load_network(job.run.path / "single.pruned", named_arch=job.run.recipe.net.arch)
        return net


def _size(job: BaselineJob, recipe: Recipe, widths: Widths) -> dict[str, float]:
    """The share of MACs, and the milliseconds by the recipe's latency table, of the base at these widths."""
    structure = analyse(job.base, job.image)
    size = {"share": job.cost(widths) / count_cost(job.base, job.image)[1]}
    time = time_budget(structure, tuple(job.image.shape[1:]), recipe.prune)
    return size if time is None else {**size, "ms": time.of_widths(widths)}


def _sized(cfg: Prune, *, share: float, ms: float = 0.0) -> Prune:
    """Return the recipe's section with the single network's targets in place of a member's."""
    if cfg.member_share < 1 or not ms:  # else time alone decides
        cfg = dataclasses.replace(cfg, member_share=min(1.0, max(0.001, share)))
    return dataclasses.replace(cfg, latency_ms=ms, latency_share=0.0) if ms else cfg


def best_score(job: BaselineJob) -> str:
    """The importance score of the candidate with the best accuracy on tune, attacked if the run is."""
    judged = "attacked" if job.run.recipe.attacked else "clean"
    alone: dict[str, float] = read_json(job.run.path / "selection.json")[f"{judged}_alone"]
    return max(alone, key=alone.__getitem__).rpartition("-")[0]
