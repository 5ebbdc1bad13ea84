"""Damaged files of a run end the report in one line that says what to do."""

import json
import os
import shutil

import pytest

from tests.conftest import call
from tests.formats.stored import STORED

DEEP = "[" * 100_000


def pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("report.json", lambda path: path.write_text(DEEP)),
        ("report.json", lambda path: path.write_text('{"accuracy": {"clean": ' + "1" * 400 + "}}")),
        ("report.json", pipe),
        ("log.jsonl", lambda path: path.write_text(DEEP)),
        ("log.jsonl", pipe),
        ("joint.json", lambda path: path.write_text(json.dumps({"members": 5}))),
        ("joint.json", lambda path: path.write_text("{}")),
        ("joint.json", pipe),
        ("run.json", lambda path: path.write_text(DEEP)),
        ("calib.npz", lambda path: path.write_bytes(b"")),
        ("notes.json", lambda path: path.write_text(DEEP)),
        ("notes.json", pipe),
        ("joint/member-0.safetensors", pipe),
    ],
    ids=[f"{name}{i}" for i, name in enumerate("abcdefghijklm")],
)
def test_it_is_one_line_and_expected(tmp_path, name, damage):
    shutil.copytree(STORED / "run", tmp_path / "run")
    damage(tmp_path / "run" / name)
    for words in ([], ["--html", tmp_path / "page.html"]):
        result = call("report", tmp_path / "run", STORED / "bundle", *words)
        assert result.exit_code in (0, 1)  # not every page needs every file
        assert "unexpected" not in result.output
        if result.exit_code:
            assert len(result.stderr.splitlines()) == 1
