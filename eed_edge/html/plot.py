"""matplotlib figures as inline SVG with the page's colours; the same figure gives the same bytes."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

from markupsafe import Markup, escape
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 4.2  # inches; small enough for text of 11 points to be readable on a phone
HEIGHT = 3.1

# Okabe and Ito's colours, which colour-blind readers can tell apart; marks and lines differ as well.
BLUE, ORANGE, GREEN, RED, PINK, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
COLOURS = (BLUE, RED, GREEN, PINK, ORANGE, SKY)
MARKS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":", "-", "--")
HATCHES = ("", "///", "...", "xx")

INK, FAINT, GREY = "#010203", "#040506", "#070809"
"""Placeholders of the page's colours, so that a chart follows light, dark and print styles."""
_PAGE_COLOURS = {INK: "currentColor", FAINT: "var(--line)", GREY: "var(--soft)"}

_LOOK = {
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib; measured with it, shown in the page's font
    "font.size": 11,
    "grid.color": FAINT,
    "hatch.linewidth": 0.6,
    "legend.columnspacing": 1.2,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


class Drawing:
    """A figure in progress; ``svg`` is set when drawing ends."""

    def __init__(self, figure: Figure, axes: list[Axes]) -> None:
        self.figure, self.axes, self.svg = figure, axes, Markup()

    @property
    def only(self) -> Axes:
        """The axes of a figure with a single one."""
        return self.axes[0]

    def legend(self, columns: int) -> None:
        """Add a legend above the axes."""
        handles, labels = self.only.get_legend_handles_labels()
        if handles:
            self.figure.legend(handles, labels, loc="outside upper left", ncols=columns)


@contextmanager
def drawing(title: str, caption: str, *, height: float = HEIGHT, axes: int = 1) -> Iterator[Drawing]:
    """Open a figure with ``axes`` side by side; its SVG is made on exit.

    Args:
        title: what it is; also keeps the ids of one page's drawings apart.
        caption: the description, also for screen readers.
    """
    with style.context(["default", {**_LOOK, "svg.hashsalt": title}]):  # whatever the user's own is
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        made = Drawing(figure, list(figure.subplots(1, axes, squeeze=False)[0]))
        yield made
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
        made.svg = _inline(stream.getvalue(), title, caption)


def _inline(text: str, title: str, caption: str) -> Markup:
    """Turn matplotlib's file into a page element: no prologue, no global style, no namespaces."""
    head = re.search(r"<svg\b[^>]*>", text)
    assert head is not None
    box = re.search(r'viewBox="([^"]*)"', head[0])
    assert box is not None
    body = text[head.end() :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style\b.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)  # the same in every drawing, and used by none
    body = body.replace("xlink:href=", "href=")
    body = re.sub(r"\n\s*", "\n", body)
    for stand_in, colour in _PAGE_COLOURS.items():
        body = body.replace(stand_in, colour)
    words = f"<title>{escape(title)}</title><desc>{escape(caption)}</desc>"
    return Markup(f'<svg viewBox="{box[1]}" role="img" aria-label="{escape(title)}">{words}{body.strip()}')
