"""Draw a set of small photograph-like pictures in folders: signs of 43 kinds on blurred backgrounds.

    python -m tests.photographs FOLDER --classes 43 --train 40 --test 10

A kind is an outline, its colours and a number of bars, so that no kind is the mirror image of another. Place,
size, turn, light, blur and background of every picture are random, and so are its height and width.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

OUTLINES = {"circle": 32, "triangle": 3, "square": 4, "octagon": 8}
COLOURS = {"red": (190, 30, 40), "blue": (30, 70, 180), "yellow": (225, 190, 40)}
KINDS = [(outline, colour, bars) for bars in range(4) for outline in OUTLINES for colour in COLOURS]
"""48 kinds; a set takes the first of them."""


def draw_set(folder: Path, *, classes: int, counts: dict[str, int], side: int = 48, seed: int = 0) -> None:
    """Write ``folder/PART/CLASS/NUMBER.jpg``, as many pictures of each class as ``counts`` says for the part.

    Args:
        side: the typical side in pixels; sides are from three quarters to five quarters of it.
    """
    rng = np.random.default_rng(seed)
    for part, count in counts.items():
        for label, kind in enumerate(KINDS[:classes]):
            place = folder / part / f"{label:02d}-{kind[1]}-{kind[0]}-{kind[2]}"
            place.mkdir(parents=True)
            for i in range(count):
                size = [int(n) for n in rng.integers(side * 3 // 4, side * 5 // 4, 2)]
                _photograph(kind, size, rng).save(place / f"{i:03d}.jpg", quality=90)


def _photograph(kind: tuple[str, str, int], size: list[int], rng: np.random.Generator) -> Image.Image:
    """One picture of a kind, ``size`` width and height."""
    outline, colour, bars = kind
    coarse = Image.fromarray(rng.integers(30, 200, (5, 5, 3), dtype=np.uint8))
    picture = coarse.resize((size[0], size[1]), Image.Resampling.BICUBIC)
    draw, side = ImageDraw.Draw(picture), min(size)
    x, y = (n / 2 + rng.uniform(-0.08, 0.08) * side for n in size)
    radius, turn = side * rng.uniform(0.36, 0.46), rng.uniform(-0.15, 0.15) - np.pi / 2
    corners = OUTLINES[outline]
    if corners in (4, 8):
        turn += np.pi / corners
    for share, fill in ((1.0, COLOURS[colour]), (0.72, (235, 235, 235))):
        angles = turn + 2 * np.pi * np.arange(corners) / corners
        points = [(x + share * radius * np.cos(a), y + share * radius * np.sin(a)) for a in angles]
        draw.polygon(points, fill=fill)
    for bar in range(bars):
        top, half = y + radius * 0.3 * (bar - (bars - 1) / 2), radius * 0.3
        draw.rectangle([x - half, top - radius * 0.08, x + half, top + radius * 0.08], fill=(30, 30, 30))
    blurred = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 0.8)))
    light = np.asarray(blurred) * rng.uniform(0.6, 1.2) + rng.normal(0, 5, (size[1], size[0], 1))
    return Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))


def main() -> None:
    """Draw the set that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    for name, default in (("--classes", 43), ("--train", 40), ("--test", 10), ("--side", 48), ("--seed", 0)):
        parser.add_argument(name, type=int, default=default)
    asked = parser.parse_args()
    counts = {"train": asked.train, "test": asked.test}
    draw_set(asked.folder, classes=asked.classes, counts=counts, side=asked.side, seed=asked.seed)


if __name__ == "__main__":
    main()
