"""Draw small pictures of three classes, circles, squares and triangles, in folders: a first set of one's own.

    python -m tests.shapes FOLDER

Place, size, turn, colours and noise of every picture are random. No part is held out: training divides them.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CORNERS = {"circle": 36, "square": 4, "triangle": 3}


def draw_shapes(folder: Path, *, each: int = 150, side: int = 32, seed: int = 0) -> None:
    """Write ``folder/CLASS/NUMBER.png``, ``each`` pictures of every class, ``side`` pixels square."""
    rng = np.random.default_rng(seed)
    for name, corners in CORNERS.items():
        (folder / name).mkdir(parents=True)
        for i in range(each):
            _picture(corners, side, rng).save(folder / name / f"{i:03d}.png")


def _picture(corners: int, side: int, rng: np.random.Generator) -> Image.Image:
    """A filled shape, lighter or darker than its background in every channel, with noise on both."""
    dark, light = rng.integers(0, 90, 3), rng.integers(150, 256, 3)
    ground, fill = (dark, light) if rng.random() < 0.5 else (light, dark)
    picture = Image.new("RGB", (side, side), tuple(map(int, ground)))
    radius = side * rng.uniform(0.28, 0.42)
    x, y = (side / 2 + rng.uniform(-0.5, 0.5) * (side / 2 - radius) for _ in range(2))
    angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(corners) / corners
    points = [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles]
    ImageDraw.Draw(picture).polygon(points, fill=tuple(map(int, fill)))
    noisy = np.asarray(picture) + rng.normal(0, 12, (side, side, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def main() -> None:
    """Draw the set that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    for name, default in (("--each", 150), ("--side", 32), ("--seed", 0)):
        parser.add_argument(name, type=int, default=default)
    asked = parser.parse_args()
    draw_shapes(asked.folder, each=asked.each, side=asked.side, seed=asked.seed)


if __name__ == "__main__":
    main()
