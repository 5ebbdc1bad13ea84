"""A first recipe for a user's pictures, as commented TOML: name, size, eps, flip and budget."""

import math
import re

import numpy as np

from eed_edge.errors import DataError
from eed_edge.recipe import Data
from eed_edge.train.data.picture_survey import PictureSurvey

SIZES = (16, 24, 32, 48, 64, 96, 128, 160, 224)
LARGE = 96
"""Side from which the stem for ImageNet is used."""
FEW = 2000
"""Training pictures below which the base is narrow."""
STEPS = 1500
"""Steps of the base's training; of a large set it is ``FEWEST_EPOCHS``."""
FEWEST_EPOCHS, MOST_EPOCHS = 10, 60
FEWEST_OF_A_CLASS = 10
"""Training images of a class below which it is hardly learned."""
USUAL = "100 a class for easy shapes, 1,000 and more for photographs"
CALIB = 200
"""Calib images to aim at: one of them is then half a percent."""


def draft_recipe(seen: PictureSurvey, *, title: str, attack: str) -> str:
    """Write the recipe, of fewer than 25 lines.

    Args:
        title: what to call the set; the recipe's name begins with it.
        attack: of all stages; ``none`` for a run without attacks.
    """
    side, crop_from, how = _size(seen)
    large = side >= LARGE
    arch = "resnet18-imagenet" if large else "resnet18"
    width = 16 if seen.counts["train"] < FEW or 48 <= side < LARGE else 32
    name = f"{_slug(title)}-{arch}-w{width}" + ("-clean" if attack == "none" else "")
    lines = [
        f"# Written by eed-edge init: {describe(seen)}",
        f"name = {_text(name)}",
        f"data.name = {_text(seen.kind)}",
        f"data.size = {side}  # {how}",
        *(
            [f"data.shorter_side = {crop_from}  # then the middle is cut: they are not square"]
            * bool(crop_from)
        ),
        *_shares(seen),
        f"data.flip = {str(seen.flip).lower()}  # {_why_flip(seen)}",
        f"data.crop = {max(1, side // 16)}  # shift by up to a sixteenth of the side",
        f"net.arch = {_text(arch)}  # {'stem for large pictures' if large else 'stem for small pictures'}",
        f"net.width = {width}  # channels of the first stage; 64 is the usual network, for a GPU",
        *_training(seen, side, attack),
        *_budget(width),
    ]
    return "\n".join(lines) + "\n"


def check_enough(seen: PictureSurvey) -> None:
    """Refuse a set that no recipe could divide: every part needs a picture of every class.

    Raises:
        DataError: a class has too few pictures.
    """
    source_part = {"test": "test", "tune": "val", "calib": "val"}
    drawn = [part for part, source in source_part.items() if source not in seen.counts]
    needed, low = len(drawn) + 1, int(seen.of_class.min())
    if low < needed:
        name = seen.classes[int(seen.of_class.argmin())]
        raise DataError(
            f"expected {needed} or more pictures of every class, one each for {', '.join([*drawn, 'train'])},"
            f" got {low} of {name!r}; add pictures, {USUAL}"
        )
    if seen.of_val is not None and (least := int(seen.of_val.min())) < 2:
        name = seen.classes[int(seen.of_val.argmin())]
        raise DataError(
            f"expected 2 or more pictures of every class in val, one each for tune and calib, got {least} of"
            f" {name!r}; move some from train there, or leave the part val out"
        )


def few_to_learn(seen: PictureSurvey, cfg: Data) -> str:
    """A warning if a class has fewer than ``FEWEST_OF_A_CLASS`` training pictures, else an empty text."""
    low, name = int(seen.of_class.min()), seen.classes[int(seen.of_class.argmin())]
    left = low * (1 - (0 if "test" in seen.counts else cfg.test))
    left *= 1 - (0 if "val" in seen.counts else cfg.tune + cfg.calib)
    if left >= FEWEST_OF_A_CLASS:
        return ""
    return (
        f"about {int(left)} of {low} pictures of {name!r} are left to learn from, fewer than"
        f" {FEWEST_OF_A_CLASS}: expect a network that guesses; add pictures, {USUAL}"
    )


def describe(seen: PictureSurvey) -> str:
    """The survey in one line."""
    counts = ", ".join(f"{count:,} in {part}" for part, count in seen.counts.items())
    colour = "grey" if seen.channels == 1 else "colour"
    low, high = int(seen.of_class.min()), int(seen.of_class.max())
    each = f"{low}" if low == high else f"{low} to {high}"
    return (
        f"{len(seen.classes)} classes, {each} training pictures each; {counts}; {colour},"
        f" {_range(seen.heights)} x {_range(seen.widths)} pixels (height x width)"
    )


def _range(sizes: np.ndarray) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    return f"{low}" if low == high else f"{low}-{high}"


def _size(seen: PictureSurvey) -> tuple[int, int, str]:
    """Side, shorter side to cut from or 0, and the reason."""
    shorter = np.minimum(seen.heights, seen.widths)
    typical = int(np.median(shorter))
    side = max([size for size in SIZES if size <= 1.1 * typical], default=SIZES[0])
    if shorter.min() == shorter.max() and typical % 8 == 0 and SIZES[0] <= typical <= SIZES[-1]:
        side = typical
    how = f"of half of the pictures the shorter side has {typical} pixels or fewer"
    if side == typical and np.array_equal(seen.heights, seen.widths):
        how = "as they are"
    elif side > typical:
        how = f"scaled up from {typical}: the network halves the size three times"
    aspect = np.sort(seen.widths / seen.heights)
    low, high = aspect[len(aspect) // 10], aspect[-1 - len(aspect) // 10]
    if low >= 0.8 and high <= 1.25:
        return side, 0, how
    return side, side if side < LARGE else 8 * math.ceil(side / 7), how


def _shares(seen: PictureSurvey) -> list[str]:
    """The lines that divide the set, and the gate's limit where calib is too small for the usual one."""
    train, counts = seen.counts["train"], seen.counts
    lines = []
    if "test" not in counts:
        lines.append("data.test = 0.2  # held back for the evaluation: there is no test part")
        train = round(0.8 * train)
    held = counts.get("val", train)
    tune, calib = 0.1, min(0.25, max(0.1, math.ceil(100 * CALIB / held) / 100))
    images = round(held * calib)
    if "val" in counts:
        images, calib = round(held / 2), tune
        lines.append("data.tune = 0.1  # val is shared by tune, which chooses epochs and members, ...")
        lines.append(f"data.calib = {calib}  # ... and calib, which sets the gate, in this proportion")
    else:
        lines.append(f"data.tune = {tune}  # of the training pictures: chooses epochs and members")
        lines.append(f"data.calib = {calib}  # about {images} pictures that set the gate")
    if images < 100:
        drop = math.ceil(50 / images) / 100
        lines.append(f"gate.max_drop = {drop}  # fewer than 100 calib pictures cannot show the usual 0.005")
    return lines


def _why_flip(seen: PictureSurvey) -> str:
    as_is, mirrored = seen.nearest
    shares = f"{as_is:.0%} are nearest to their class's mean, mirrored {mirrored:.0%}"
    if seen.flip:
        return f"{shares}; false if a mirror image is another class"
    return f"mirror images are other pictures here: {shares}, or the names say so"


def _training(seen: PictureSurvey, side: int, attack: str) -> list[str]:
    """The lines of base, pool and joint."""
    train = seen.counts["train"] * (1.0 if "val" in seen.counts else 0.75)
    batch = 32 if train < 1000 or side >= 160 else 64
    epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(STEPS * batch / train)))
    lr, rest = (0.05 if batch == 32 else 0.1), max(4, epochs // 3)
    eps = 25.5 if seen.channels == 1 and side <= 32 else 4 if side >= LARGE else 8
    kind = f'attack = "{attack}", batch = {batch}'
    lines = [] if attack == "none" else [f"base.eps_255 = {eps}  # {_why_eps(eps)}"]
    off = "alpha = 0.0, beta = 0.0, omega = 0.0, gamma = 0.0"
    return [
        f"base.epochs = {epochs}  # about {round(epochs * train / batch):,} steps",
        *lines,
        f'base.attack = "{attack}"{"  # clean pictures only" if attack == "none" else ""}',
        f"base.batch = {batch}",
        f"base.lr = {lr}",
        "base.averaging = 0.98  # over about 50 steps",
        f"pool = {{ epochs = {rest}, {kind}, lr = {lr / 2}, averaging = 0.98 }}",
        f"joint = {{ epochs = {rest}, {kind}, lr = {lr / 2}, averaging = 0.98, {off} }}",
    ]


def _why_eps(eps: float) -> str:
    return {
        25.5: "a tenth of the range: simple grey pictures bear it",
        4: "4/255, usual for large photographs",
        8: "8/255, usual for small photographs",
    }[eps]


def _budget(width: int) -> list[str]:
    sparsity, share = (0.4, 0.2) if width == 16 else (0.7, 0.1)
    why = f"up to three members of {share:.0%} of the base"
    return [f"prune = {{ sparsity = {sparsity}, member_share = {share} }}  # {why}"]


def _text(value: str) -> str:
    return f'"{value}"'


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "pictures"
