"""The nouns of the page: a section holds sentences, tables, charts and pictures."""

from dataclasses import dataclass

from markupsafe import Markup

ATTACK = "eed-edge attack RUN BUNDLE --data DIR --suite standard"
BENCH = "eed-edge bench BUNDLE --run RUN"
NARROW = "eed-edge narrow RUN BUNDLE --data DIR"
TRAIN = "eed-edge train RECIPE --data DIR --run RUN"
"""The commands that make what a section shows."""


@dataclass(frozen=True)
class Cell:
    """One figure, with what belongs under it, such as its interval."""

    text: str
    detail: str = ""
    mark: str = ""  # a CSS class


@dataclass(frozen=True)
class Row:
    """What a row is about, in words, and its cells."""

    title: str
    cells: tuple[Cell, ...]
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """A table; ``stacked`` ones become a list of cards on a phone."""

    caption: str
    columns: tuple[str, ...]  # the first one is that of the rows' titles
    rows: tuple[Row, ...]
    stacked: bool = False


@dataclass(frozen=True)
class Chart:
    """A drawing, what it shows in words, and its figures as a table."""

    title: str
    says: str
    svg: Markup
    table: Table | None = None


@dataclass(frozen=True)
class Picture:
    """A small image as a data URI, and what it is."""

    uri: str
    title: str
    says: str = ""


@dataclass(frozen=True)
class Example:
    """One image as it is and attacked, with what was made of it."""

    title: str
    pictures: tuple[Picture, ...]
    table: Table


@dataclass(frozen=True)
class Fold:
    """Text that stays folded until somebody wants it."""

    title: str
    text: str


@dataclass(frozen=True)
class Section:
    """One part of the page; ``missing`` names the command that makes its data, ``tiles`` stand out."""

    key: str
    title: str
    says: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tiles: tuple[Row, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    examples: tuple[Example, ...] = ()
    pictures: tuple[Picture, ...] = ()
    folds: tuple[Fold, ...] = ()
    missing: str = ""


def row(title: str, *texts: str, detail: str = "") -> Row:
    """A row of bare texts."""
    return Row(title, tuple(map(Cell, texts)), detail)
