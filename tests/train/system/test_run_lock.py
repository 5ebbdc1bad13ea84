"""One process at a time works on a run folder; the lock goes with the process, however that ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from eed_edge.errors import CheckpointError, StorageError
from eed_edge.train.system.run_lock import LOCK_FILE, locked
from tests.conftest import TINY, Flow, call

HOLD = "import sys, time; from pathlib import Path; from eed_edge.train.system.run_lock import locked\n"
HOLD += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the lock of ``tmp_path / 'run'``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_process_is_told_who_works_on_the_run(holder, tmp_path):
    expected = (
        rf"in use by process {holder.pid} on {re.escape(socket.gethostname())} since \d{{4}}-\d\d-\d\dT"
    )
    with pytest.raises(CheckpointError, match=expected), locked(tmp_path / "run"):
        pass
    assert (tmp_path / "run" / LOCK_FILE).exists()


@pytest.mark.parametrize(
    "words", [("train", TINY, "--run"), ("narrow", "--mean-ms", "1"), ("attack",)], ids=lambda words: words[0]
)
def test_every_command_that_writes_into_a_run_respects_the_lock(words, flow: Flow):
    command = [*words, flow.run, *([flow.bundle] if words[0] == "attack" else [])]
    with locked(flow.run):
        result = call(*command)
    assert result.exit_code == 1
    assert re.search(rf"^error: .* in use by process {os.getpid()} on .*; wait for it", result.output, re.M)
    assert not (flow.run / LOCK_FILE).exists()


def test_the_lock_of_a_killed_process_is_free(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / LOCK_FILE).read_text())["pid"] == os.getpid()
    assert not (tmp_path / "run" / LOCK_FILE).exists()


def test_a_new_folder_that_stays_empty_is_removed_and_others_stay(tmp_path):
    (tmp_path / "old").mkdir()
    for name in ("old", "new", "filled"):
        with locked(tmp_path / name):
            if name == "filled":
                (tmp_path / name / "run.json").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["filled", "old"]


def test_a_file_or_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="expected a folder for the run, got a file"):
        locked(tmp_path / "file").__enter__()
    with pytest.raises(StorageError, match=r"cannot write .*run.lock"):
        locked(tmp_path / "file" / "below").__enter__()


def test_the_lock_is_not_taken_on_a_file_that_its_owner_has_just_removed(tmp_path, monkeypatch):
    from eed_edge.files import file_lock

    real, opened = os.open, []

    def slow_open(path, flags, mode=0o777):
        descriptor = real(path, flags, mode)
        if not opened:
            os.unlink(path)  # between our open and our lock
        opened.append(descriptor)
        return descriptor

    monkeypatch.setattr(file_lock.os, "open", slow_open)
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK_FILE).exists()
    assert len(opened) == 2


@pytest.mark.slow
def test_of_three_trainings_on_one_folder_one_works_and_two_say_who_does(flow: Flow, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "eed_edge", "train", str(TINY), "--run", str(run), "--until", "base"]
    trainings = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    ended = [(process, *process.communicate()) for process in trainings]
    codes = sorted(process.returncode for process, _, _ in ended)
    workers = "|".join(str(process.pid) for process, _, _ in ended if process.returncode == 0)
    if codes != [0, 1, 1]:  # one was so late that the first had finished
        assert codes == [0, 0, 1]
    for process, _, err in ended:
        if process.returncode:
            assert re.fullmatch(rf"error: .*in use by process ({workers}) on .*\n", err)
    assert (run / "base.safetensors").exists()
    assert not list(run.rglob(".*.part"))
