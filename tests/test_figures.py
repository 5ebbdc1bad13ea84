"""Figures in documents are those of a file in the repository.

A comment behind a paragraph or table names the file, and for each figure the place in it::

    <!-- figures: benchmarks/results/demo-robustness.json
    98.9 = 100 * mean_and_spread.clean_dense.mean
    -->

Several comments in a row name several files. A figure may be a difference of two such terms,
``0.3 = 100 * a - 100 * b``.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
COMPLETE = (
    "README.md",
    "benchmarks/README.md",
    "models/cifar10-resnet18-w16/card.md",
    "models/cifar10-resnet18/card.md",
)
"""Documents in which every number with a decimal point has such a line, or is generated."""
COMMENT = re.compile(r"<!-- figures: (\S+)\n(.*?)-->\n?", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.-])(?<!Version )(?<!eps )\d+\.\d+(?![\w.]*\d)")


class Figure(NamedTuple):
    document: str
    text: str
    file: str
    terms: str
    block: str


def figures_of(document: str) -> list[Figure]:
    """Every figure that a comment of the document names, with the block before the comment."""
    source, figures = (ROOT / document).read_text(), []
    for comment in COMMENT.finditer(source):
        block = COMMENT.sub("", source[: comment.start()]).rstrip().rpartition("\n\n")[2]
        for line in comment[2].strip().splitlines():
            text, _, terms = line.partition(" = ")
            figures.append(Figure(document, text, comment[1], terms, block))
    return figures


def value_of(figure: Figure) -> float:
    first, *others = (term_value(figure.file, term) for term in figure.terms.split(" - "))
    return first - sum(others)


def term_value(file: str, term: str) -> float:
    factor, _, place = term.rpartition(" * ")
    value = json.loads((ROOT / file).read_text())
    while place:
        keys = map(str, range(len(value))) if isinstance(value, list) else value
        key = next(key for key in keys if f"{place}.".startswith(f"{key}."))  # may have a point in it
        value, place = value[int(key) if isinstance(value, list) else key], place[len(key) + 1 :]
    return float(factor or 1) * value


DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "models/*/*.md")
    for path in ROOT.glob(pattern)
    if "<!-- figures:" in path.read_text()
)
FIGURES = [figure for document in DOCUMENTS for figure in figures_of(document)]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: f"{figure.document}-{figure.terms}")
def test_a_figure_is_the_one_of_its_file_and_stands_in_the_text(figure):
    decimals = len(figure.text.partition(".")[2])
    assert f"{value_of(figure):.{decimals}f}" == figure.text
    assert re.search(rf"(?<![\d.]){re.escape(figure.text)}(?![\d.]*\d)", figure.block)


@pytest.mark.parametrize("document", COMPLETE)
def test_every_number_with_a_decimal_point_is_traced_to_a_file(document):
    source = (ROOT / document).read_text()
    generated = r"<!-- tables: begin -->.*?<!-- tables: end -->|\A---\n.*?\n---\n"
    source = re.sub(generated, " ", source, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->|```.*?```|`[^`\n]*`|\]\([^)]*\)", " ", source, flags=re.DOTALL)
    traced = {figure.text for figure in figures_of(document)}
    assert sorted(set(NUMBER.findall(text)) - traced) == []
