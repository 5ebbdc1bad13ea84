"""Example images: clean, perturbation, adversarial, with each sub-model's label."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eed_edge.html import formats
from eed_edge.html.components import (
    Cell,
    Example,
    Picture,
    Row,
    Section,
    Table,
)
from eed_edge.html.inputs import PageInputs

SHOWN = 12
LARGEST = 256  # pixels; larger pictures are scaled down for the page
Floats = NDArray[np.floating[Any]]


def examples_section(sources: PageInputs) -> Section:
    """One card per example image."""
    arrays = sources.arrays
    added = arrays["strip_attacked"] - arrays["strip_clean"]  # (s, h, w, c)
    scale = max(1, int(0.5 / max(float(np.abs(added).max(initial=0)), 1e-6)))
    cards = tuple(_card(sources, i, added[i], scale) for i in range(len(added)))
    say = (
        f"Test images as they are, what the attack adds, magnified {scale} times around grey, and the two"
        " together; what is answered wrong already is not attacked. ✓ marks a right answer, ✗ a wrong one;"
        " the deployed rule stopped after as many sub-models as it says."
    )
    return Section("examples", "Examples", caption=(say,), examples=cards)


def _card(sources: PageInputs, i: int, added: Floats, scale: int) -> Example:
    arrays = sources.arrays
    label = int(arrays["strip_labels"][i])
    pictures = (
        Picture(_uri(arrays["strip_clean"][i]), "clean"),
        Picture(_uri(0.5 + scale * added), f"added ×{scale}"),
        Picture(_uri(arrays["strip_attacked"][i]), "attacked"),
    )
    rows = [
        Row(f"sub-model {t + 1}", tuple(_answer(sources, said[i][t], label) for said in _said(sources)))
        for t in range(len(sources.manifest.submodels))
    ]
    deployed = tuple(
        _answer(sources, arrays[f"strip_answer_{kind}"][i], label, used=int(arrays[f"strip_used_{kind}"][i]))
        for kind in ("clean", "attacked")
    )
    table = Table("What was said", ("", "Clean", "Attacked"), (*rows, Row("deployed rule", deployed)))
    return Example(sources.class_name(label), pictures, table)


def _said(sources: PageInputs) -> tuple[NDArray[Any], NDArray[Any]]:
    return sources.arrays["strip_said_clean"], sources.arrays["strip_said_attacked"]


def _answer(sources: PageInputs, said: int, label: int, *, used: int | None = None) -> Cell:
    right = int(said) == label
    detail = "" if used is None else f"ran {used} of {len(sources.manifest.submodels)}"
    return Cell(
        f"{'✓' if right else '✗'}\N{NO-BREAK SPACE}{sources.class_name(int(said))}",
        detail,
        "right" if right else "wrong",
    )


def undecided_section(sources: PageInputs) -> Section:
    """A sentence on which clean images need more than one sub-model."""
    images, labels, used = (sources.arrays[name] for name in ("images", "labels", "submodels_used"))
    more = np.flatnonzero(used > 1)
    share = float(len(more) / max(1, len(used)))
    say = (
        f"{formats.count(len(more))} of {formats.images(len(used))} ({formats.percent(share)}) need more than"
        f" one sub-model{', such as these' if len(more) else ''}."
    )
    # Those that ran longest come first, in the order of the file among equals.
    order = more[np.argsort(-used[more], kind="stable")][:SHOWN]
    pictures = tuple(
        Picture(_uri(images[i] / 255), sources.class_name(int(labels[i])), f"ran {int(used[i])}")
        for i in order
    )
    return Section("undecided", "Images that need more than one", caption=(say,), pictures=pictures)


def _uri(image: Floats) -> str:
    """Encode a picture ``(h, w, c)`` as a PNG data URI; values are clipped to [0, 1]."""
    pixels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((LARGEST, LARGEST))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
