"""What the stored networks and the stored bundle say of a few images."""

from pathlib import Path

import numpy as np


def of_run(run: Path, bundle: Path, path: Path) -> None:
    """What every network and the bundle say of the test images."""
    import eed_edge
    from eed_edge.train.run_folder import open_run

    images, opened = shown(), open_run(run)
    answer = eed_edge.load(bundle)(images)
    nets = {"dense": opened.base(), "narrow": opened.narrow()}
    nets |= {f"submodel-{i}": net for i, (net, _) in enumerate(opened.members())}
    recorded = {name: logits(net, images) for name, net in nets.items()}
    recorded |= {"probs": answer.probs, "labels": answer.labels, "submodels_used": answer.submodels_used}
    np.savez_compressed(path, images=images, **recorded)


def shown() -> np.ndarray:
    """The test images as networks take them."""
    pixels = np.load("data/test.npz")["images"]
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def scaled(images: np.ndarray, size: int) -> np.ndarray:
    """Each pixel repeated."""
    factor = size // images.shape[2]
    return images.repeat(factor, 2).repeat(factor, 3)


def logits(net: object, images: np.ndarray) -> np.ndarray:
    """Of a torch network in evaluation mode."""
    import torch

    with torch.no_grad():
        return net(torch.from_numpy(images)).numpy()
