"""Folders that one test worker makes and all read: a training or an export of the same is made once."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

try:
    import fcntl
except ImportError:  # Windows: one worker
    fcntl = None


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """The temporary folder of this test session, the same one for every worker of pytest-xdist."""
    base_folder = factory.getbasetemp()
    return base_folder.parent if "PYTEST_XDIST_WORKER" in os.environ else base_folder


def made_once(target: Path, make: Callable[[Path], object]) -> Path:
    """Return the folder ``target``; the first worker to ask fills it by ``make``, the others wait."""
    with _locked(target.with_suffix(".lock")):
        if not target.exists():
            part = target.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)  # of a worker that failed
            part.mkdir(parents=True)
            make(part)
            part.rename(target)
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        if fcntl is not None:
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
