"""The page of a report that has every part."""

from pathlib import Path

import pytest

from eed_edge.html.inputs import read_inputs
from eed_edge.html.page import render
from tests.html import sample
from tests.html.page_reader import Page, read


def page_of(folder: Path, report, name="tiny") -> str:
    return render(read_inputs(sample.fill(folder, report), sample.bundle_manifest(name)))


@pytest.fixture(scope="session")
def text(tmp_path_factory) -> str:
    return page_of(tmp_path_factory.mktemp("run"), sample.full_report())


@pytest.fixture(scope="session")
def page(text) -> Page:
    return read(text)
