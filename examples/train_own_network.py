"""Train a team from images and a network of your own, export it, measure it and use it.

python examples/train_own_network.py build/demo/run/calib.npz build/own [recipe.toml]
"""

import sys

import numpy as np

import eed_edge  # before torch, whose idle threads it lets sleep

# isort: split
from torch import nn


def main(images: str, out: str, recipe: str | None = None) -> None:
    """Print accuracy with and without attacks, and the answer for the first image."""
    with np.load(images) as arrays:
        data = arrays["images"], arrays["labels"]  # (n, h, w, c) uint8, (n,)
    channels, classes = data[0].shape[3], int(data[1].max()) + 1
    first = nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)
    )
    second = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
    network = nn.Sequential(first, second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, classes))
    run = eed_edge.train_team(recipe, data, run=f"{out}/run", network=network)
    eed_edge.export_bundle(run, f"{out}/bundle")
    report = eed_edge.evaluate_bundle(run, f"{out}/bundle", data)
    for attack, row in report["accuracy"].items():
        print(f"{attack}: {row['dynamic']:.3f}, the unpruned network {row.get('dense', float('nan')):.3f}")
    net = eed_edge.load(f"{out}/bundle")
    print(net, net(data[0][0]).labels)


if __name__ == "__main__":
    main(*sys.argv[1:])
