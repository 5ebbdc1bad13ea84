"""Write files and folders whole or not at all: temporary name, fsync, rename."""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eed_edge.errors import StorageError
from eed_edge.files.exchange import exchange
from eed_edge.files.file_lock import FileLock, InUseError


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` in one step; a reader sees the old file or the new one.

    Raises:
        StorageError: the disk is full or the folder cannot be written; ``path`` is untouched.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        if temporary is not None:  # still there after a failure or an interruption
            Path(temporary).unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON in one step; NaN and infinity are refused."""
    write_atomic(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; on a clean exit it takes the place of ``path``.

    When the body raises, the disk is full or the process is killed, ``path`` stays as it was. Where the
    system can exchange folders, ``path`` is there at every moment; elsewhere it is missing between two
    renames, and a process killed there leaves a folder that the next call puts back. Leftovers of killed
    processes are removed.

    Raises:
        StorageError: another process is writing ``path``, or it cannot be written.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path  # the link stays
    lock = FileLock(path.parent / f".{path.name}.lock")
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        if lock.exclusive:
            _clean_up(path)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        os.chmod(temporary, 0o777 & ~_umask())
        _sync_folder(temporary)
        _replace_folder(temporary, path)
    except InUseError as error:
        raise StorageError(
            f"{path}: expected a folder that no other process writes, got one in use by {error}; wait for it"
        ) from error
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)  # what was there before, after an exchange
        lock.release()


def _replace_folder(new: Path, path: Path) -> None:
    """Put ``new`` at ``path``; the old folder is then at ``new``, or removed."""
    if not path.exists():
        os.replace(new, path)
    elif not exchange(new, path):
        old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".old"))
        os.replace(path, old / path.name)
        try:
            os.replace(new, path)
        except BaseException:
            os.replace(old / path.name, path)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
    _sync_folder(path.parent)


def _clean_up(path: Path) -> None:
    """Remove leftovers of killed processes beside ``path``; restore a folder that one had moved away."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.(part|old)")
    for left in sorted(path.parent.iterdir()):
        if not pattern.fullmatch(left.name) or left.is_symlink() or not left.is_dir():
            continue
        if left.suffix == ".old" and (left / path.name).is_dir() and not path.exists():
            os.replace(left / path.name, path)
        shutil.rmtree(left, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # other systems cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_error(path: Path, error: OSError) -> StorageError:
    """Return a one-line error for a file that could not be written."""
    if isinstance(error, StorageError):
        return error
    reason = error.strerror or str(error)
    remedy = "choose another place, then run again"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = f"free some space or {remedy}"
    return StorageError(f"cannot write {path}: {reason}; {remedy}")


def check_place(path: Path, *, folder: bool = False) -> None:
    """Refuse a place where ``write_atomic`` would fail, before long work whose result goes there.

    Args:
        folder: for ``atomic_folder``, which replaces one.

    Raises:
        StorageError: a folder is there, the folder above cannot be written, or it cannot be made.
    """
    above = Path(os.path.realpath(path) if folder else path).parent
    while not above.exists():
        above = above.parent
    code = 0
    if path.is_dir() and not folder:
        code = errno.EISDIR
    elif not above.is_dir():
        code = errno.ENOTDIR
    elif not os.access(above, os.W_OK | os.X_OK):
        code = errno.EACCES
    if code:
        raise storage_error(path, OSError(code, os.strerror(code)))
