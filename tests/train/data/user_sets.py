"""Users' image sets as files: NPZ archives and folders of pictures of noise."""

import numpy as np
from PIL import Image

PARTS = ("train", "tune", "calib", "test")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def all_images(splits):
    """Each image and its label as bytes, from all parts."""
    parts = [getattr(splits, part) for part in PARTS]
    return [x.tobytes() + bytes([y]) for part in parts for x, y in zip(part.images, part.labels, strict=True)]


def write_npz(path, images, labels, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, images=images, labels=np.asarray(labels), **more)
    return path


def write_folder(root, pictures):
    """``pictures``: path below root → uint8 array or raw bytes."""
    for name, content in pictures.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            Image.fromarray(content).save(path)
    return root


def colours(classes, count, *shape):
    return {f"{name}/{i}.png": noise(*shape, seed=i) for name in classes for i in range(count)}


TWELVE = np.arange(12) % 2


def by_name(root, *parts, seed=0):
    for i, (part, count) in enumerate(parts):
        write_folder(root / part, {f"{name}/{i}-{j}.png": noise(8, 8, 3, seed=100 * i + j + ord(name) * 1000)
                                   for name in "ab" for j in range(count)})  # fmt: skip
    return root
