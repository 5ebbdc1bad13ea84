"""What two readings of the paper do to the pool and to the team that is chosen from it.

    .venv/bin/python benchmarks/pool_options.py digits-resnet18
    .venv/bin/python benchmarks/pool_options.py cifar10-resnet18-w16 --data DIR --base RUN/base.safetensors

``nis behind the norm`` takes the NIS score behind each layer's batch norm, ``one shared quarter`` puts the
same quarter of the images into every subset of every score. From one base, each pool is trained and a team
chosen, without joint training. Tune images tell the diversity of all teams of four (RD), the accuracy under
attack of the candidates by NIS, and that of the chosen team, as ``extra_terms.py`` judges it.
"""

import eed_edge  # before torch, whose idle threads would spin

# isort: split
import statistics
from pathlib import Path
from typing import Any

import click
import torch
from extra_terms import RESULTS, judged, write

from eed_edge import recipe as recipes
from eed_edge.train.data.batches import Images
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.networks.checkpoint import load_network
from eed_edge.train.run_folder import read_json

ARMS: dict[str, list[str]] = {
    "as the recipes have it": [],
    "nis behind the norm": ['scores.names=["nis-norm", "erm", "ase", "bnsf"]'],
    "one shared quarter": ['pool.shared_by="all"'],
}


@click.command(help=__doc__)
@click.argument("name")
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--base", type=click.Path(path_type=Path, exists=True), help="Base to start from.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True)
@click.option("--set", "overrides", multiple=True, help="Of the recipe, as for eed-edge train.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/pool-options"))
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULTS / "pool-options.json")
def main(
    name: str,
    data: Path | None,
    base: Path | None,
    seeds: int,
    overrides: tuple[str, ...],
    work: Path,
    target: Path,
) -> None:
    """Train a pool for every arm and seed, choose a team of it and judge both."""
    if base and seeds > 1:
        raise click.UsageError("--base has learnt from the tune images of other seeds; leave out --seeds")
    settings = [*overrides, *([f"base.init={base.resolve()}", "base.epochs=0"] if base else [])]
    rows: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for seed in range(seeds):
        for arm, changes in ARMS.items():
            recipe = recipes.load_recipe(name, [*settings, f"seed={seed}", *changes])
            run = work / name / f"{arm.replace(' ', '-')}-{seed}"
            eed_edge.train_team(recipe, data, run=run, until="select")
            tune = splits_for_recipe(recipe, data).tune
            images = Images(torch.from_numpy(tune.images.copy()), torch.from_numpy(tune.labels))
            row = figures(run, images, eps=recipe.base.eps_255 / 255)
            rows[arm].append(row)
            click.echo(f"{arm:<24}" + "   ".join(f"{key} {100 * value:5.1f}" for key, value in row.items()))
    write(target, {name: {"images": len(images), "seeds": seeds, "rows": rows}})


def figures(run: Path, tune: Images, *, eps: float) -> dict[str, float]:
    """Diversity of the pool, accuracy of its NIS candidates and of its chosen team, as shares."""
    choice = read_json(run / "selection.json")
    alone = [right for name, right in choice["attacked_alone"].items() if name.startswith("nis")]
    members = [load_network(run / "pool" / f"{name}.safetensors")[0] for name in choice["members"]]
    return {
        "rd of four": next(row["mean"] for row in choice["rd_by_size"] if row["size"] == 4),
        "nis candidates": statistics.fmean(alone),
        **judged(members, tune, eps=eps),
    }


if __name__ == "__main__":
    main()
