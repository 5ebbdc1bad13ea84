"""The files that the fuzzer begins with, findings of earlier runs among them, are judged as they must be."""

from pathlib import Path

import pytest

from eed_edge.errors import BundleError
from eed_edge.runtime.bundle.admit import admit
from tests.hostile.disagreement import disagreement
from tests.hostile.onnx_parsers import parse_in_python, view

FILES = sorted((Path(__file__).parent / "corpus").iterdir())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_reader_sees_what_the_walk_accepts(file):
    raw = file.read_bytes()
    assert disagreement(raw) is None
    try:
        rebuilt = admit(raw, "a")
    except BundleError:
        return
    assert disagreement(rebuilt) is None
    assert view(parse_in_python(rebuilt)) == view(parse_in_python(raw))


def test_some_are_accepted_and_some_are_not():
    accepted = 0
    for file in FILES:
        try:
            admit(file.read_bytes(), "a")
            accepted += 1
        except BundleError:
            pass
    assert 3 < accepted < len(FILES) - 3
