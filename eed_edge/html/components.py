"""Components of the page: a section holds captions, tables, charts and pictures."""

from dataclasses import dataclass

from markupsafe import Markup

COMMANDS = {
    "train": "eed-edge train RECIPE --data DIR --run RUN",
    "narrow": "eed-edge narrow RUN BUNDLE --data DIR",
    "single": "eed-edge single RUN BUNDLE --data DIR",
    "attack": "eed-edge attack RUN BUNDLE --data DIR --suite standard",
    "bench": "eed-edge bench BUNDLE --run RUN",
}
"""The commands that make the figures, in the order of work."""


@dataclass(frozen=True)
class Cell:
    """A table cell with an optional detail below it, such as an interval."""

    text: str
    detail: str = ""
    mark: str = ""  # a CSS class


@dataclass(frozen=True)
class Row:
    """A titled row of cells."""

    title: str
    cells: tuple[Cell, ...]
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """A table; ``stacked`` ones become a list of cards on a phone, ``folded`` ones are opened by a click.

    note: text above it.
    """

    caption: str
    columns: tuple[str, ...]  # the first one is that of the rows' titles
    rows: tuple[Row, ...]
    stacked: bool = False
    folded: bool = False
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart with a caption and its figures as a table.

    sources: the commands that it comes from, where they are not all of its section's.
    """

    title: str
    caption: str
    svg: Markup
    table: Table
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A small image as a data URI, with what it shows, title and caption."""

    uri: str
    alt: str
    title: str
    caption: str = ""


@dataclass(frozen=True)
class Example:
    """One example: clean and adversarial image with the sub-models' labels."""

    title: str
    pictures: tuple[Picture, ...]
    table: Table


@dataclass(frozen=True)
class Fold:
    """Collapsed text."""

    title: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command by name, with the lines that were recorded, or its general form."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A section of the page.

    sources: the commands that its figures come from, keys of ``COMMANDS``.
    tiles: key figures.
    shown: how many charts and examples are seen without a click.
    """

    caption: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tiles: tuple[Row, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    examples: tuple[Example, ...] = ()
    pictures: tuple[Picture, ...] = ()
    folds: tuple[Fold, ...] = ()
    commands: tuple[Command, ...] = ()
    shown: int = 4


@dataclass(frozen=True)
class Front:
    """The top of the page: the verdict on deployment, its reasons, and key figures.

    facts: when and on what it was measured.
    """

    answer: str
    why: str
    facts: str
    warnings: tuple[str, ...]
    tiles: tuple[Row, ...]
    table: Table | None


def row(title: str, *texts: str, detail: str = "") -> Row:
    """A row of cells without details."""
    return Row(title, tuple(map(Cell, texts)), detail)
