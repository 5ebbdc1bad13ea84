"""Classify the images of an NPZ file with a bundle: label, probability, sub-models used.

python examples/classify.py build/demo/bundle build/demo/run/evaluation.npz
"""

import sys
from pathlib import Path

import eed_edge
from eed_edge.images.npz import read_npz


def main(bundle: str, images: str) -> None:
    """Print one line per image, and the accuracy if the file has labels."""
    net = eed_edge.load(bundle)
    pictures, labels = read_npz(Path(images))  # (n, h, w, c) uint8
    prediction = net(pictures)
    for i, label in enumerate(prediction.labels):
        name, probability = net.manifest.classes[label], prediction.probs[i, label]
        print(f"{i}: {name}  {probability:.3f}  {prediction.submodels_used[i]} sub-models")
    if labels is not None:
        print(f"accuracy {(prediction.labels == labels).mean():.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
