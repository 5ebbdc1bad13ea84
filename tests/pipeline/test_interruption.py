"""Signals: held back until a checkpoint can be written, raised once, ignored where they were ignored."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eed_edge.train.networks import checkpoint
from eed_edge.train.system import interruption
from eed_edge.train.system.interruption import (
    Interrupted,
    deferred,
    handled,
    let_through,
)
from tests.conftest import TINY, Flow, succeed

CODES = {"SIGTERM": 143, "SIGHUP": 129, "SIGINT": 130}


def send(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))


@pytest.mark.parametrize("name", CODES)
def test_a_signal_becomes_an_exception_with_the_usual_exit_code(name):
    with pytest.raises(Interrupted, match=f"stopped by {name}") as stop, handled():
        send(name)
    assert stop.value.exit_code == CODES[name]


def test_a_deferred_signal_is_raised_at_the_end_of_the_outermost_block():
    done = []

    def work() -> None:
        with handled(), deferred():
            with deferred():
                send("SIGTERM")
                done.append("inner")
            done.append("outer")

    with pytest.raises(Interrupted, match="SIGTERM"):
        work()
    assert done == ["inner", "outer"]


def test_a_signal_that_is_acknowledged_is_not_raised():
    with handled(), deferred():
        send("SIGTERM")
        assert [interruption.acknowledge(), interruption.acknowledge()] == [signal.SIGTERM, None]


def test_inside_a_deferred_block_a_part_may_let_signals_through():
    with handled(), deferred():
        with pytest.raises(Interrupted), let_through():
            send("SIGTERM")
        assert interruption.acknowledge() is None
    with handled(), deferred():
        send("SIGTERM")
        with pytest.raises(Interrupted), let_through():
            pass  # an earlier one is raised at the start


def test_a_signal_that_comes_twice_at_once_counts_once_and_later_ends_the_process(monkeypatch):
    def work() -> None:
        with handled(), deferred():
            send("SIGINT")
            send("SIGTERM")  # passed on by torchrun
            monkeypatch.setattr(interruption, "REPEATED_AFTER_S", -1)
            send("SIGINT")

    with pytest.raises(SystemExit) as ended:
        work()
    assert ended.value.code == 130


def test_the_earlier_handlers_come_back_and_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handled():
            send("SIGHUP")
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


SLOW = """
import time, traceback
from pathlib import Path
from eed_edge.attacks import training_images
from eed_edge.train import checkpointing
real = training_images.make_adversarial
def slow(*args, **rest):
    if any("examine" in frame.filename for frame in traceback.extract_stack()):
        return real(*args, **rest)  # the steps of the examination before training do not count
    time.sleep(0.3)
    Path(__file__).with_name(f"batch-{{len(list(Path(__file__).parent.glob('batch-*')))}}").touch()
    return real(*args, **rest)
training_images.make_adversarial = slow
{more}
from eed_edge.cli import main
main()
"""


def training(run: Path, more: str = "", prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """``eed-edge train --until base`` of the tiny recipe in a process of its own, slowed down."""
    script = run.parent / "train.py"
    script.write_text(SLOW.format(more=more))
    return subprocess.Popen(
        [*prefix, sys.executable, str(script), "train", str(TINY), "--run", str(run), "--until", "base"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip


def wait_for(path: Path) -> None:
    end = time.monotonic() + 120
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.005)


def assert_resumes_to_the_same_weights(run: Path, flow: Flow) -> None:
    succeed("train", TINY, "--run", run, "--until", "base")
    for name in ("base.safetensors", "base-last.safetensors"):
        assert (run / name).read_bytes() == (flow.run / name).read_bytes()


@pytest.mark.slow
def test_training_writes_a_checkpoint_on_every_signal_and_ends_with_the_same_weights(
    flow: Flow, tmp_path: Path
):
    run, batches = tmp_path / "run", []
    for name, code in CODES.items():
        for path in tmp_path.glob("batch-*"):
            path.unlink()
        process = training(run)
        wait_for(tmp_path / "batch-0")
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=60)
        assert process.returncode == code
        message = f"kept in {run}: base as far as it is trained"
        again = f"eed-edge train {TINY} --run {run} --until base"
        assert err == f"stopped by {name}; {message}; resume with: {again}\n"
        assert not (run / "run.lock").exists()
        batches.append(checkpoint.load_checkpoint(run / "base.state")[1]["batch"])
    assert any(batches)  # it stopped inside an epoch
    assert_resumes_to_the_same_weights(run, flow)


@pytest.mark.slow
def test_a_run_killed_in_the_middle_of_an_epoch_ends_as_an_unbroken_one(flow: Flow, tmp_path: Path):
    often = "checkpointing.EVERY_S = 0.2; checkpointing.AFTER_EPOCH_S = 1e9"  # only inside epochs
    process = training(run := tmp_path / "run", often)
    wait_for(run / "base.state")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (run / "base.safetensors").exists()
    assert checkpoint.load_checkpoint(run / "base.state")[1]["batch"] > 0
    assert_resumes_to_the_same_weights(run, flow)


@pytest.mark.slow
def test_training_under_nohup_survives_a_hangup(tmp_path: Path):
    process = training(tmp_path / "run", prefix=("nohup",))
    wait_for(tmp_path / "batch-0")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
