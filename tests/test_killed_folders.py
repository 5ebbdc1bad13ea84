"""A folder that was written once is whole at every later moment, whoever is killed or writes beside it."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from eed_edge import atomic_files
from eed_edge.atomic_files import atomic_folder
from eed_edge.errors import StorageError
from eed_edge.files.exchange import exchange

ROOT = Path(__file__).parents[1]
WRITER = """
import itertools, sys
from pathlib import Path
from eed_edge import atomic_files
if sys.argv[2] == "without":
    atomic_files.exchange = lambda first, second: False
print("started", flush=True)
for turn in itertools.count():
    with atomic_files.atomic_folder(Path(sys.argv[1])) as folder:
        for i in range(3):
            (folder / f"part-{i}").write_text(f"{sys.argv[3]} {turn}")
"""


def writer(path, *, way="with", name="a"):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), way, name],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def end(process):
    process.kill()
    process.communicate()


def is_complete(path):
    parts = [(path / f"part-{i}").read_text() for i in range(3)]
    return len(set(parts)) == 1 and len(list(path.iterdir())) == 3


def write(path, text="first"):
    with atomic_folder(path) as folder:
        for i in range(3):
            (folder / f"part-{i}").write_text(text)


@pytest.fixture
def exchanges(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this system cannot exchange folders")
    return


@pytest.mark.usefixtures("exchanges")
def test_killed_at_any_moment_the_folder_is_whole_and_the_next_call_cleans_up(tmp_path):
    place = tmp_path / "place"
    path, moments = place / "bundle", random.Random(0)
    write(path)
    for _ in range(12):
        process = writer(path)
        time.sleep(moments.random() * 0.05)
        end(process)
        assert is_complete(path)
    write(path)
    assert [entry.name for entry in place.iterdir()] == ["bundle"]


@pytest.mark.usefixtures("exchanges")
def test_the_path_is_never_missing_while_it_is_replaced(tmp_path):
    path = tmp_path / "bundle"
    write(path)
    process, missing = writer(path), 0
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        missing += not os.path.isdir(path)
    end(process)
    assert missing == 0


def test_without_exchange_the_next_call_puts_back_what_a_killed_one_moved_away(tmp_path):
    path = tmp_path / "bundle"
    write(path)
    old = tmp_path / ".bundle.abcd1234.old"  # as it is between the two renames
    old.mkdir()
    os.replace(path, old / "bundle")
    with pytest.raises(RuntimeError), atomic_folder(path):
        raise RuntimeError  # even if the new one fails
    assert is_complete(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]


def test_without_exchange_nothing_is_lost_by_kills_either(tmp_path):
    path, moments = tmp_path / "bundle", random.Random(1)
    write(path)
    for _ in range(6):
        process = writer(path, way="without")
        time.sleep(moments.random() * 0.05)
        end(process)
        with pytest.raises(RuntimeError), atomic_folder(path):
            raise RuntimeError
        assert is_complete(path)
        assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]


def test_a_failing_second_rename_puts_the_old_folder_back(tmp_path, monkeypatch):
    path = tmp_path / "bundle"
    write(path)
    real = os.replace

    def fail_for_the_new(source, target):
        if str(source).endswith(".part"):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(atomic_files, "exchange", lambda first, second: False)
    monkeypatch.setattr(atomic_files.os, "replace", fail_for_the_new)
    with pytest.raises(StorageError, match="No space left"):
        write(path, "second")
    monkeypatch.undo()
    assert is_complete(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]


def test_a_second_writer_is_told_who_writes_and_touches_nothing(tmp_path):
    path = tmp_path / "bundle"
    write(path)
    entered, leave = threading.Event(), threading.Event()

    def slow():
        with atomic_folder(path) as folder:
            for i in range(3):
                (folder / f"part-{i}").write_text("slow")
            entered.set()
            leave.wait()

    thread = threading.Thread(target=slow)
    thread.start()
    entered.wait()
    with pytest.raises(StorageError, match=rf"in use by process {os.getpid()} on .*; wait for it"):
        write(path, "second")
    leave.set()
    thread.join()
    assert is_complete(path)
    assert (path / "part-0").read_text() == "slow"
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]


def test_a_stopped_writer_keeps_its_lock_and_its_folder(tmp_path):
    path = tmp_path / "bundle"
    write(path)
    process = writer(path)
    process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(20):  # it may have been stopped between two turns, without the lock
            write(path, "second")
    except StorageError:
        pass
    process.send_signal(signal.SIGCONT)
    time.sleep(0.1)
    assert process.poll() is None
    end(process)
    assert is_complete(path)


def test_folders_of_others_with_similar_names_are_not_cleaned_up(tmp_path):
    path = tmp_path / "bundle"
    names = (".bundle.part", ".bundle.mine.part", ".bundle2.abcd1234.part", ".bundle.abcd1234.zip")
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / ".bundle.abcd1234.part").write_text("a file")
    write(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"bundle", ".bundle.abcd1234.part", *names}


def test_a_link_to_a_bundle_stays_a_link(tmp_path):
    write(tmp_path / "version-1")
    (tmp_path / "bundle").symlink_to("version-1")
    write(tmp_path / "bundle", "second")
    assert (tmp_path / "bundle").is_symlink()
    assert (tmp_path / "version-1" / "part-0").read_text() == "second"
