"""Each equation in docs/METHOD.md leads to code that names it in turn."""

import re

import pytest

from tests.docs.code_blocks import ROOT

TABLE = re.findall(
    r"^\| ([\d, -]+|sec\. [\d.]+) \|.*\| (.*) \|$", (ROOT / "docs/METHOD.md").read_text(), re.MULTILINE
)


def equations(text: str) -> set[int]:
    """The numbers of ``16-18``, ``21, 22`` and the like."""
    spans = [span.partition("-") for span in re.findall(r"\d+(?:-\d+)?", text)]
    return {number for low, _, high in spans for number in range(int(low), int(high or low) + 1)}


@pytest.mark.parametrize(("source", "places"), TABLE)
def test_the_code_that_implements_an_equation_names_it(source, places):
    code = [(ROOT / "eed_edge" / path).read_text() for path in re.findall(r"[\w/]+\.py", places)]
    if source.startswith("sec."):
        assert any(source in text for text in code)
    else:
        named = {
            n for text in code for part in re.findall(r"eq\. ([\d, -]*\d)", text) for n in equations(part)
        }
        assert equations(source) <= named


def test_every_equation_of_the_method_is_in_the_table():
    numbers = set().union(*(equations(source) for source, _ in TABLE if not source.startswith("sec.")))
    assert numbers == set(range(5, 23))
