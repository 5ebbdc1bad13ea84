"""Read arrays of an NPZ file whose sizes are checked before a byte is unpacked."""

import struct
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eed_edge.files.regular_files import open_regular

MOST_BYTES = 256 * 2**20
MOST_RATIO = 8
"""An archive may unpack to ``MOST_BYTES``, or to this many times its own size where that is more."""
_MOST_MEMBERS = 1000
_MOST_DIRECTORY = 2**20  # bytes of the list of members
_END = struct.Struct("<4s4H2LH")  # end of the list of members


class ArrayHeader(NamedTuple):
    """Shape and type of an array that is not unpacked yet."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def read_arrays(
    path: Path,
    names: Collection[str] | None,
    *,
    optional: Collection[str] = (),
    check: Callable[[dict[str, ArrayHeader]], None] | None = None,
) -> dict[str, NDArray[Any]]:
    """Read the arrays of these names without unpickling; others are left packed.

    Args:
        names: None reads all.
        optional: names that may be missing.
        check: is given the headers by name before anything is unpacked, and raises where they do not fit.

    Raises:
        OSError: the file cannot be opened or is not a regular one.
        ValueError: an array is missing, damaged or larger than allowed. A damaged archive can make
            zipfile and numpy raise other types too.
    """
    with open_regular(path) as stream:
        most = max(MOST_BYTES, MOST_RATIO * stream.seek(0, 2))
        check_directory(stream)
        with zipfile.ZipFile(stream) as archive:
            members = _members(archive, None if names is None else {*names, *optional})
            if missing := [name for name in names or () if name not in members]:
                raise ValueError(f"no array {missing[0]!r}")
            unpacked = sum(member.file_size for member in members.values())
            if unpacked > most:
                raise ValueError(f"arrays of {unpacked:,} bytes unpacked, at most {most:,} are allowed")
            headers = {name: _header(archive, member, name) for name, member in members.items()}
            if check is not None:
                check(headers)
            return {name: _read(archive, member, name) for name, member in members.items()}


def check_directory(stream: IO[bytes], *, most_bytes: int = _MOST_DIRECTORY) -> None:
    """Refuse an archive with a long list of members, for which zipfile would take memory and time.

    Raises:
        ValueError: the list is longer, or there is none.
    """
    size = stream.seek(0, 2)
    stream.seek(max(size - _END.size - (1 << 16), 0))
    tail = stream.read()
    at = len(tail) - _END.size
    if not (tail[at:].startswith(b"PK\5\6") and tail.endswith(b"\0\0")):
        at = tail.rfind(b"PK\5\6")  # a comment follows; zipfile looks for it in the same way
    if at < 0 or len(tail) - at < _END.size:
        raise ValueError("File is not a zip file")
    *_, length, _, _ = _END.unpack_from(tail, at)
    if tail[at - 20 : at - 16] == b"PK\6\7" and tail[at - 76 : at - 72] == b"PK\6\6":  # a large archive
        (length,) = struct.unpack_from("<Q", tail, at - 36)
    if length > most_bytes:
        raise ValueError(f"a list of members of {length:,} bytes, at most {most_bytes:,} are allowed")


def _members(archive: zipfile.ZipFile, names: set[str] | None) -> dict[str, zipfile.ZipInfo]:
    if len(archive.infolist()) > _MOST_MEMBERS:
        raise ValueError(f"{len(archive.infolist()):,} arrays, at most {_MOST_MEMBERS:,} are allowed")
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in members:
            raise ValueError(f"array {name!r:.60} occurs twice")
        if names is None or name in names:
            members[name] = member
    return members


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> NDArray[Any]:
    with archive.open(member) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        if stream.read(1):
            raise ValueError(f"array {name!r:.60} has more bytes than its header says")
    return array


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> ArrayHeader:
    """Compare the size in an array's header, for which numpy takes the memory, with the member's."""
    with archive.open(member) as stream:
        if (version := np.lib.format.read_magic(stream)) != (1, 0):  # headers of others may have gigabytes
            raise ValueError(f"array {name!r:.60} of format {version}, expected 1.0")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        begin = stream.tell()
    if dtype.hasobject:
        raise ValueError(f"Object arrays cannot be loaded: {name!r:.60}")
    size = dtype.itemsize
    for length in shape:
        size *= length  # Python's integers do not overflow
    if min(shape, default=0) < 0 or begin + size != member.file_size:
        raise ValueError(
            f"array {name!r:.60} {shape!s:.80} {dtype!s:.80} does not fit its {member.file_size:,} bytes"
        )
    return ArrayHeader(shape, dtype)
