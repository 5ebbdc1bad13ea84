"""Kills, full disks, folders that cannot be written and pairs of processes, over ``train`` and ``export``."""

import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from eed_edge.errors import EedError
from eed_edge.runtime.bundle.golden_answers import check_bundle
from tests.conftest import TINY
from tests.trust.judge import ROOT
from tests.trust.tally import Tally

_MOST_SECONDS = 1800  # of a command, on a busy machine
_SMALL_FILE = 20_000  # bytes: less than a network of the run


def make_run(folder: Path) -> tuple[Path, Path, dict[str, float]]:
    """A small run and its bundle, made undisturbed, and how many seconds each took."""
    run, bundle, seconds = folder / "run", folder / "bundle", {}
    for name, words in (("train", _train(run)), ("export", _export(run, bundle))):
        started = time.monotonic()
        outcome = _end(_start(words))
        if outcome[0]:
            raise RuntimeError(f"{name} failed undisturbed: {outcome[1]}")
        seconds[name] = time.monotonic() - started
    return run, bundle, seconds


def kill_training(tally: Tally, folder: Path, good: Path, *, kills: int, seconds: float) -> None:
    """Kill ``train`` again and again; finished files stay whole, and the run ends with equal networks."""
    chance, run = random.Random(1), folder / "killed"
    for _ in range(kills):
        _kill_after(_start(_train(run)), chance.random() * seconds)
        tally.faults += 1
        for file in _broken(run):
            tally.count("lost", f"{file} after a kill")
        if (run / "joint.json").exists():
            _check_equal(tally, run, good)
            shutil.rmtree(run)
    code, text = _end(_start(_train(run)))
    if code:
        tally.count("lost", f"a killed run does not go on: {text}")
    else:
        _check_equal(tally, run, good)


def kill_export(tally: Tally, run: Path, bundle: Path, *, kills: int, seconds: float) -> None:
    """Kill ``export`` over a bundle that is there: it stays whole, and the next leaves nothing else."""
    chance = random.Random(2)
    for _ in range(kills):
        _kill_after(_start(_export(run, bundle)), chance.random() * seconds)
        tally.faults += 1
        _check_complete(tally, bundle, "a kill")
    code, text = _end(_start(_export(run, bundle)))
    if code:
        tally.count("lost", f"export after kills: {text}")
    _check_complete(tally, bundle, "the last export")
    if left := [path.name for path in bundle.parent.iterdir() if path.name.startswith(".")]:
        tally.count("lost", f"left after an export: {left}")


def fill_disk(tally: Tally, folder: Path, run: Path, bundle: Path) -> None:
    """Files that may not grow, a folder that cannot be written, an output without room: one line each."""
    nowhere = Path("/proc/eed-edge")  # no one can write there, the superuser included
    for words, options in (
        (_export(run, bundle), {"most": _SMALL_FILE}),
        (_train(folder / "full"), {"most": _SMALL_FILE}),
        (_export(run, nowhere / "bundle"), {}),
        (_train(nowhere / "run"), {}),
        (["check", str(bundle)], {"out": "/dev/full"}),
    ):
        code, text = _end(_start(words, **options))
        tally.faults += 1
        errors = [line for line in text.splitlines() if line.startswith("error: ")]
        if code != 1 or len(errors) != 1 or "unexpected" in text or "Traceback" in text:
            tally.count("unexpected", f"{words[0]} {options}: exit {code}, {text[-300:]}")
        _check_complete(tally, bundle, f"{words[0]} {options}")
    if broken := _broken(folder / "full"):
        tally.count("lost", f"broken files on a full disk: {broken}")


def race(tally: Tally, folder: Path, run: Path, bundle: Path) -> None:
    """Two exports to one bundle, then two trainings of one run: one of each works, the other says why."""
    both = folder / "both"
    for words in (_export(run, bundle), _train(both)):
        pair = [_end(process) for process in [_start(words), _start(words)]]
        tally.faults += 1
        if not any(code == 0 for code, _ in pair):
            tally.count("lost", f"neither {words[0]} of two finished: {pair}")
        for code, text in pair:
            if code and (code != 1 or "in use by" not in text):
                tally.count("unexpected", f"{words[0]} beside another: exit {code}, {text[-300:]}")
    _check_complete(tally, bundle, "two exports")
    if broken := _broken(both):
        tally.count("lost", f"broken files of two trainings: {broken}")


def _train(run: Path) -> list[str]:
    return ["train", str(TINY), "--run", str(run)]


def _export(run: Path, bundle: Path) -> list[str]:
    return ["export", str(run), str(bundle), "--single-file"]


def _start(words: Sequence[str], *, most: int = 0, out: str = "") -> "subprocess.Popen[str]":
    """Start a command line; ``most``: bytes that a file may have; ``out``: where standard output goes."""

    def limit() -> None:
        if most:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    with open(out or os.devnull, "w") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "eed_edge", *words],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=stream,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limit,
        )


def _end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit code and standard error of a command."""
    _, text = process.communicate(timeout=_MOST_SECONDS)
    return process.returncode, text


def _kill_after(process: "subprocess.Popen[str]", seconds: float) -> None:
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _broken(run: Path) -> list[str]:
    """Finished files of a run, not those under way, that cannot be read."""
    import json

    from safetensors import SafetensorError, safe_open

    broken = []
    for path in sorted(run.rglob("*")):
        try:
            if path.suffix == ".safetensors" and not path.name.startswith("."):
                with safe_open(path, "np") as stream:
                    stream.keys()
            elif path.suffix == ".json" and not path.name.startswith("."):
                json.loads(path.read_bytes())
        except (OSError, ValueError, SafetensorError):
            broken.append(path.name)
    return broken


def _check_equal(tally: Tally, run: Path, good: Path) -> None:
    """The members of a run that was killed are those of the one that was not."""
    from safetensors.numpy import load_file

    files = sorted((good / "joint").glob("member-*.safetensors"))
    for file in files:
        other = run / "joint" / file.name
        if not other.exists() or not _same_arrays(load_file(file), load_file(other)):
            tally.count("lost", f"{file.name} differs after kills")


def _same_arrays(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def _check_complete(tally: Tally, bundle: Path, after: str) -> None:
    try:
        check_bundle(bundle)
    except EedError as error:
        tally.count("lost", f"the bundle after {after}: {error}")
