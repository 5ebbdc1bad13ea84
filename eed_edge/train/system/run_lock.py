"""Lock of a run folder: one process at a time writes into it."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eed_edge.atomic_files import storage_error
from eed_edge.errors import CheckpointError
from eed_edge.files.file_lock import FileLock, InUseError

LOCK_FILE = "run.lock"


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
    created, lock = not folder.exists(), FileLock(folder / LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except InUseError as error:
        raise CheckpointError(
            f"{folder}: expected a run that no other process works on, got one in use by {error};"
            " wait for it, stop it, or choose another run folder"
        ) from error
    except OSError as error:
        raise storage_error(folder / LOCK_FILE, error) from error
    try:
        yield
    finally:
        lock.release()
        if created:
            with contextlib.suppress(OSError):  # not empty, as a rule
                folder.rmdir()
