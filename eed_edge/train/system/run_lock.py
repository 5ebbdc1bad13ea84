"""Lock of a run folder: one process at a time writes into it."""

import contextlib
import errno
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from eed_edge.atomic_files import storage_error
from eed_edge.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows has no flock; nothing is locked there
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)
LOCK_FILE = "run.lock"
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder; a folder that did not exist and stays empty is removed again.

    The operating system releases the lock with the process, however that ends.

    Raises:
        CheckpointError: another process holds the lock, or ``folder`` is a file.
        StorageError: the folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder}: expected a folder for the run, got a file; choose another folder")
    if fcntl is None:
        yield
        return
    created = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(folder / LOCK_FILE)
    except OSError as error:
        raise storage_error(folder / LOCK_FILE, error) from error
    try:
        yield
    finally:
        (folder / LOCK_FILE).unlink(missing_ok=True)
        os.close(descriptor)
        if created:
            with contextlib.suppress(OSError):  # not empty, as a rule
                folder.rmdir()


def _acquire(path: Path) -> int:
    """The descriptor of the lock file, locked, with this process's details in it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _owner(descriptor)
            os.close(descriptor)
            raise CheckpointError(
                f"{path.parent}: expected a run that no other process works on, got one in use by {owner};"
                " wait for it, stop it, or choose another run folder"
            ) from error
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                os.close(descriptor)
                raise
            log.warning("%s: this file system has no locks; start one process at a time", path.parent)
        if _is_current(descriptor, path):
            break
        os.close(descriptor)  # its owner removed it while we opened it
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    details = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(details).encode() + b"\n", 0)
    return descriptor


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _owner(descriptor: int) -> str:
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {owner['pid']} on {owner['host']} since {owner['started']}"
    except (ValueError, KeyError, TypeError):  # it has just been created
        return "another process"
