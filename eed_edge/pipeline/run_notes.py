"""Notes on a run: a base at chance, too few images, given weights that may have seen tune and calib."""

import math

import numpy as np

from eed_edge.recipe import Recipe
from eed_edge.report import wilson
from eed_edge.report.notes_file import BASE_AT_CHANCE, FEW_IMAGES, WEIGHTS_HAVE_SEEN
from eed_edge.train.data.batches import Images
from eed_edge.train.data.recipe_draft import FEWEST_OF_A_CLASS
from eed_edge.train.data.splits import Splits

HALF_AN_IMAGE = 0.5
"""Fewer calib images than this over ``gate.max_drop`` cannot tell that share from none."""
NEAR_CHANCE = 0.05
"""A base is at chance below this share of the way from a constant answer to no error."""


def data_notes(recipe: Recipe, splits: Splits) -> dict[str, str]:
    """The notes on images and given weights; empty texts where there is nothing to say."""
    few = [text for text in (_few_of_a_class(splits), _few_for_the_gate(recipe, splits)) if text]
    seen = ""
    if recipe.base.init and not splits.held_out:
        seen = (
            "the weights of base.init may have seen the pictures of tune and calib: accuracies there flatter"
            " them, and the gate may stop too soon; data.calib_from names pictures that they have not seen"
        )
    return {FEW_IMAGES: "; ".join(few), WEIGHTS_HAVE_SEEN: seen}


def base_note(recipe: Recipe, clean: float, tune: Images) -> dict[str, str]:
    """The note on a base that is not measurably better than one answer for all images.

    Args:
        clean: its clean accuracy on the first ``base.judge_images`` of tune.
    """
    labels = tune.labels[: recipe.base.judge_images].cpu().numpy()
    constant = float(np.bincount(labels).max() / len(labels))
    low, _ = wilson(round(clean * len(labels)), len(labels))
    useful = clean >= constant + NEAR_CHANCE * (1 - constant)
    if useful and low > constant:
        return {BASE_AT_CHANCE: ""}
    what, consequence = "is at chance level", "nothing made from it is meaningful"
    if useful:
        what, consequence = "cannot be told from chance", "more tune images may tell: raise data.tune"
    text = (
        f"the base {what}: right on {clean:.1%} of {len(labels)} tune images, one answer for all"
        f" on {constant:.1%}; {consequence}. Possible causes: {_causes(recipe)}"
    )
    return {BASE_AT_CHANCE: text}


def _causes(recipe: Recipe) -> str:
    cfg, causes = recipe.base, ["labels that do not belong to their pictures", "too few pictures"]
    if cfg.init:
        causes.append("net.mean, net.std or the order of the classes of base.init")
    if cfg.epochs:
        causes.append(f"base.epochs {cfg.epochs} too few")
        causes.append(f"base.lr {cfg.lr:g} too high or too low")
        causes.append("a network that ends in softmax")
        if cfg.attacked:
            causes.append(f"base.eps_255 {cfg.eps_255:g} too large for these pictures")
    return ", ".join(causes)


def _few_of_a_class(splits: Splits) -> str:
    counts = np.bincount(splits.train.labels, minlength=len(splits.classes))
    short = [f"{splits.classes[i]} {counts[i]}" for i in np.argsort(counts, kind="stable")
             if counts[i] < FEWEST_OF_A_CLASS]  # fmt: skip
    if not short:
        return ""
    more = f" and {len(short) - 3} more" if len(short) > 3 else ""
    return (
        f"{len(short)} of {len(counts)} classes have fewer than {FEWEST_OF_A_CLASS} training images"
        f" ({', '.join(short[:3])}{more}): too few to learn them; add some"
    )


def _few_for_the_gate(recipe: Recipe, splits: Splits) -> str:
    images, drop = len(splits.calib), recipe.gate.max_drop
    needed = math.ceil(HALF_AN_IMAGE / drop - 1e-9) if drop else 0
    if images >= needed:
        return ""
    return (
        f"{images} calib images cannot show a drop of {drop:.2%}, one of them is {1 / images:.1%}: at least"
        f" {needed} are needed; raise data.calib, add pictures or raise gate.max_drop"
    )
