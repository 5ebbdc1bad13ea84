"""Lock a path against other processes; the operating system releases the lock with the process."""

import errno
import json
import logging
import os
import socket
from datetime import datetime
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock; nothing is locked there
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class InUseError(Exception):
    """Another process holds the lock; the text says which."""


class FileLock:
    """The lock of a file with the owner's details, held from ``acquire`` to ``release``.

    exclusive: whether the file system has locks, so that no other process works there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.exclusive = False
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock without waiting.

        Raises:
            InUseError: another process holds it.
            OSError: the file cannot be written.
        """
        if fcntl is None:
            return
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
            try:
                self._lock(descriptor)
                current = _is_current(descriptor, self.path)
            except BaseException:
                os.close(descriptor)
                raise
            if current:
                break
            os.close(descriptor)  # its owner removed it while we opened it
        self._descriptor = descriptor
        started = datetime.now().astimezone().isoformat(timespec="seconds")
        details = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(details).encode() + b"\n", 0)

    def release(self) -> None:
        """Remove the file and give the lock back."""
        if self._descriptor is None:
            return
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor, self.exclusive = None, False

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.exclusive = True
        except BlockingIOError as error:
            raise InUseError(_owner(descriptor)) from error
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            log.warning("%s: this file system has no locks; start one process at a time", self.path.parent)


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
