"""Open regular files only, links to them included: a pipe or a device is refused and never waited for."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading.

    Raises:
        OSError: it cannot be opened, or is something else; ``strerror`` says what.
    """
    try:
        before = os.stat(path)
    except ValueError as error:  # a NUL character in the path
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    _check(before, path)  # opening some devices has effects
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, *, most_bytes: int | None = None) -> bytes:
    """Read a regular file, at most ``most_bytes`` of it.

    Raises:
        OSError: as ``open_regular``, or the file is larger.
    """
    with open_regular(path) as stream:
        if most_bytes is None:
            return stream.read()
        content = stream.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes:,} bytes", str(path))
    return content


def _check(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    for is_kind, name in _KINDS:
        if is_kind(status.st_mode):
            raise OSError(errno.EINVAL, f"expected a regular file, got {name}", str(path))
