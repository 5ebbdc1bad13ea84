"""Files and folders are written whole or not at all, also when the disk is full."""

import errno
import os

import pytest

from eed_edge import atomic_files
from eed_edge.errors import StorageError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def full_disk(monkeypatch):
    def refuse(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)


def test_a_file_is_replaced_in_one_step(tmp_path):
    atomic_files.write_atomic(tmp_path / "a", b"old")
    atomic_files.write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, full_disk):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(StorageError, match="No space left on device; free some space"):
        atomic_files.write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_place_that_cannot_be_written_is_refused_before_the_work_as_after_it(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"old")
    for place in (tmp_path, tmp_path / "file" / "x"):
        for write in (atomic_files.check_place, lambda path: atomic_files.write_atomic(path, b"new")):
            with pytest.raises(StorageError, match=f"cannot write {place}: .*; choose another place"):
                write(place)
    atomic_files.check_place(tmp_path / "file")
    (tmp_path / "above").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / "above")
    for folder in (False, True):
        with pytest.raises(StorageError, match=r"cannot write .*above/x: Permission denied; choose another"):
            atomic_files.check_place(tmp_path / "above" / "x", folder=folder)
    atomic_files.check_place(tmp_path, folder=True)
    atomic_files.check_place(tmp_path / "new" / "folder" / "x")
    assert names(tmp_path) == ["above", "file"]


def test_a_full_disk_leaves_the_old_folder_and_nothing_else(tmp_path, full_disk):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "old").write_bytes(b"old")
    with (
        pytest.raises(StorageError, match="No space left"),
        atomic_files.atomic_folder(tmp_path / "f") as folder,
    ):
        (folder / "new").write_bytes(b"new")
    assert names(tmp_path) == ["f"]
    assert names(tmp_path / "f") == ["old"]


def test_a_folder_is_replaced_only_when_its_filling_succeeds(tmp_path):
    with atomic_files.atomic_folder(tmp_path / "f") as folder:
        (folder / "one").write_bytes(b"1")
    with pytest.raises(RuntimeError), atomic_files.atomic_folder(tmp_path / "f") as folder:
        raise RuntimeError
    assert names(tmp_path / "f") == ["one"]
    with atomic_files.atomic_folder(tmp_path / "f") as folder:
        (folder / "two").write_bytes(b"2")
    assert names(tmp_path) == ["f"]
    assert names(tmp_path / "f") == ["two"]


def test_a_file_has_the_rights_that_a_plain_one_would_have(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    atomic_files.write_atomic(tmp_path / "whole", b"")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_without_a_meaning_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        atomic_files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert names(tmp_path) == []
