"""Judge a checkpoint on test: clean, PGD-20 on the cross-entropy and on the margin, and the worse of both.

    .venv/bin/python benchmarks/base.py models/cifar10-resnet18/base.safetensors cifar10-resnet18 --data DIR

The first test images are taken, in their order. Writes the figures beside the checkpoint, as NAME.json.
"""

import sys
from pathlib import Path

import click
import numpy as np
import torch

from eed_edge import recipe as recipes
from eed_edge import report
from eed_edge.atomic_files import write_json
from eed_edge.attacks.carlini_wagner import CarliniWagner
from eed_edge.attacks.interface import Threat, frozen
from eed_edge.attacks.pgd import PGD
from eed_edge.evaluate.models_compared import folded
from eed_edge.report import wilson_interval
from eed_edge.train.data.batches import Images, in_order, on_device
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.networks import checkpoint

BATCH = 100
ATTACKS = {"pgd20": PGD(), "margin20": CarliniWagner(steps=20, steps_per_eps=4)}


@click.command(help=__doc__)
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("recipe")
@click.option("--data", type=click.Path(path_type=Path), help="The images.")
@click.option("--images", default=500, show_default=True)
def main(path: Path, recipe: str, data: Path | None, images: int) -> None:
    """Attack the network and write accuracies with their intervals."""
    cfg = recipes.load_recipe(recipe)
    net, record = checkpoint.load_network(path)
    test = on_device(splits_for_recipe(cfg, data).test, torch.device("cpu"))[slice(0, images)]
    correct = judge(folded(net), test, eps=cfg.base.eps_255 / 255)
    figures = {
        name: {"accuracy": float(right.mean()), "interval": wilson_interval(right)}
        for name, right in correct.items()
    }
    write_json(
        path.with_suffix(".json"),
        {
            "command": ".venv/bin/python benchmarks/base.py " + " ".join(sys.argv[1:]),
            "machine": report.machine(),
            "commit": report.commit(),
            "images": len(test),
            "test": figures,
            "training": record["training"],
            "history": record["history"],
        },
    )
    for name, row in figures.items():
        low, high = row["interval"]
        click.echo(f"{name:<10}{100 * row['accuracy']:.1f} ({100 * low:.1f} to {100 * high:.1f})")


def judge(net: torch.nn.Module, test: Images, *, eps: float) -> dict[str, np.ndarray]:
    """Whether each image is classified correctly when clean, under each attack as well, and under all."""
    correct: dict[str, list[np.ndarray]] = {name: [] for name in ("clean", *ATTACKS, "worse")}
    with frozen(net):
        for images, labels in in_order(test, BATCH):
            rows = {"clean": images} | {
                name: attack(net, images, labels, Threat(eps, 0)) for name, attack in ATTACKS.items()
            }
            with torch.no_grad():
                right = {name: (net(part).argmax(1) == labels).numpy() for name, part in rows.items()}
            for name, each in right.items():
                correct[name].append(each & right["clean"])
            correct["worse"].append(np.logical_and.reduce(list(right.values())))
    return {name: np.concatenate(parts) for name, parts in correct.items()}


if __name__ == "__main__":
    main()
