"""The record of evaluations on test grows by a line and counts bundles, not calls."""

import pytest

from eed_edge.errors import InputError
from eed_edge.report.judged_file import append_judged, judged_summary, read_judged


def test_a_record_is_appended_and_bundles_are_counted_once(tmp_path):
    path = tmp_path / "judged.jsonl"
    assert (judged_summary(path), read_judged(path)) == ("", [])
    for bundle in ("a", "b", "a"):
        before = path.read_bytes() if path.exists() else b""
        append_judged(path, {"bundle": bundle, "command": "eed-edge attack"})
        assert path.read_bytes().startswith(before)
    assert judged_summary(path) == "2 bundles of this run, in 3 evaluations (judged.jsonl)"


@pytest.mark.parametrize("text", ["{", "[]\n", '{"command": "x"}\n'])
def test_a_damaged_record_is_refused(tmp_path, text):
    path = tmp_path / "judged.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="put the run's own file back"):
        read_judged(path)
