"""Components of the page: a section holds captions, tables, charts and pictures."""

from dataclasses import dataclass

from markupsafe import Markup

ATTACK = "eed-edge attack RUN BUNDLE --data DIR --suite standard"
BENCH = "eed-edge bench BUNDLE --run RUN"
NARROW = "eed-edge narrow RUN BUNDLE --data DIR"
TRAIN = "eed-edge train RECIPE --data DIR --run RUN"
"""Commands that produce the data of a section."""


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
    """A table; ``stacked`` ones become a list of cards on a phone."""

    caption: str
    columns: tuple[str, ...]  # the first one is that of the rows' titles
    rows: tuple[Row, ...]
    stacked: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart with a caption and its figures as a table."""

    title: str
    caption: str
    svg: Markup
    table: Table | None = None


@dataclass(frozen=True)
class Picture:
    """A small image as a data URI, with title and caption."""

    uri: str
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
class Section:
    """A section of the page; ``missing`` is the command that produces its data, ``tiles`` are key figures."""

    key: str
    title: str
    caption: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tiles: tuple[Row, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    examples: tuple[Example, ...] = ()
    pictures: tuple[Picture, ...] = ()
    folds: tuple[Fold, ...] = ()
    missing: str = ""


def row(title: str, *texts: str, detail: str = "") -> Row:
    """A row of cells without details."""
    return Row(title, tuple(map(Cell, texts)), detail)
