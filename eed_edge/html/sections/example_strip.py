"""Example images: clean, perturbation, adversarial, with each sub-model's label."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eed_edge.html.components import (
    Cell,
    Example,
    Picture,
    Row,
    Section,
    Table,
)
from eed_edge.html.inputs import PageInputs
from eed_edge.report import formats

SHOWN = 12
SHOWN_EXAMPLES = 3
LARGEST = 256  # pixels; larger pictures are scaled down for the page
Pixels = NDArray[np.floating[Any]]


def examples_section(sources: PageInputs) -> Section:
    """One card per example image."""
    arrays = sources.arrays
    added = arrays["strip_attacked"] - arrays["strip_clean"]  # (s, h, w, c)
    scale = max(1, int(0.5 / max(float(np.abs(added).max(initial=0)), 1e-6)))
    cards = tuple(_card(sources, i, added[i], scale) for i in range(len(added)))
    say = (
        f"Test images, the perturbation of the attack magnified {scale} times around grey, and the attacked"
        " image. ✓ marks a correct prediction, ✗ a wrong one; images that are misclassified already are not"
        " attacked."
    )
    return Section(sources=("attack",), caption=(say,), examples=cards, shown=SHOWN_EXAMPLES)


def _card(sources: PageInputs, i: int, added: Pixels, scale: int) -> Example:
    arrays = sources.arrays
    label = int(arrays["strip_labels"][i])
    name = sources.class_name(label)
    pictures = (
        Picture(_uri(arrays["strip_clean"][i]), f"test image of class {name}, clean", "clean"),
        Picture(_uri(0.5 + scale * added), f"perturbation of that image, times {scale}", f"added ×{scale}"),
        Picture(_uri(arrays["strip_attacked"][i]), f"the same image of class {name}, attacked", "attacked"),
    )
    rows = [
        Row(
            f"{t + 1}", tuple(_answer(sources, answers[i][t], label) for answers in _submodel_labels(sources))
        )
        for t in range(len(sources.manifest.submodels))
    ]
    deployed = tuple(
        _answer(sources, arrays[f"strip_answer_{kind}"][i], label, used=int(arrays[f"strip_used_{kind}"][i]))
        for kind in ("clean", "attacked")
    )
    table = Table(
        f"Predictions, class {name}", ("Sub-model", "Clean", "Attacked"), (*rows, Row("team", deployed))
    )
    return Example(f"Class {name}", pictures, table)


def _submodel_labels(sources: PageInputs) -> tuple[NDArray[Any], NDArray[Any]]:
    return sources.arrays["strip_said_clean"], sources.arrays["strip_said_attacked"]


def _answer(sources: PageInputs, answer: int, label: int, *, used: int | None = None) -> Cell:
    right = int(answer) == label
    detail = "" if used is None else f"{used} of {len(sources.manifest.submodels)} run"
    return Cell(
        f"{'✓' if right else '✗'}\N{NO-BREAK SPACE}{sources.class_name(int(answer))}",
        detail,
        "right" if right else "wrong",
    )


def undecided_section(sources: PageInputs) -> Section:
    """A sentence on which clean images need more than one sub-model."""
    images, labels, used = (sources.arrays[name] for name in ("images", "labels", "submodels_used"))
    more = np.flatnonzero(used > 1)
    share = float(len(more) / max(1, len(used)))
    say = (
        f"{formats.count(len(more))} of {formats.images(len(used))} of test ({formats.percent(share)}) are"
        f" not answered by the first sub-model alone{', such as these' if len(more) else ''}."
    )
    # Those that ran longest come first, in the order of the file among equals.
    order = more[np.argsort(-used[more], kind="stable")][:SHOWN]
    pictures = tuple(
        Picture(
            _uri(images[i] / 255),
            f"test image of class {sources.class_name(int(labels[i]))}",
            sources.class_name(int(labels[i])),
            f"{int(used[i])} sub-models",
        )
        for i in order
    )
    return Section(sources=("attack",), caption=(say,), pictures=pictures)


def _uri(image: Pixels) -> str:
    """Encode a picture ``(h, w, c)`` as a PNG data URI; values are clipped to [0, 1]."""
    pixels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((LARGEST, LARGEST))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
