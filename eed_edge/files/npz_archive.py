"""Read arrays of an NPZ file whose sizes are checked before a byte is unpacked."""

import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from eed_edge.files.regular_files import open_regular

MOST_BYTES = 256 * 2**20
MOST_RATIO = 8
"""An archive may unpack to ``MOST_BYTES``, or to this many times its own size where that is more."""
_MOST_MEMBERS = 1000


def read_arrays(
    path: Path, names: Collection[str] | None, *, optional: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """Read the arrays of these names without unpickling; others are left packed.

    Args:
        names: None reads all.
        optional: names that may be missing.

    Raises:
        OSError: the file cannot be opened or is not a regular one.
        ValueError: an array is missing, damaged or larger than allowed. A damaged archive can make
            zipfile and numpy raise other types too.
    """
    with open_regular(path) as stream:
        most = max(MOST_BYTES, MOST_RATIO * stream.seek(0, 2))
        with zipfile.ZipFile(stream) as archive:
            members = _members(archive, None if names is None else {*names, *optional})
            if missing := [name for name in names or () if name not in members]:
                raise ValueError(f"no array {missing[0]!r}")
            unpacked = sum(member.file_size for member in members.values())
            if unpacked > most:
                raise ValueError(f"arrays of {unpacked:,} bytes unpacked, at most {most:,} are allowed")
            return {name: _read(archive, member, name) for name, member in members.items()}


def _members(archive: zipfile.ZipFile, names: set[str] | None) -> dict[str, zipfile.ZipInfo]:
    if len(archive.infolist()) > _MOST_MEMBERS:
        raise ValueError(f"{len(archive.infolist()):,} arrays, at most {_MOST_MEMBERS:,} are allowed")
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in members:
            raise ValueError(f"array {name!r:.60} stands twice")
        if names is None or name in names:
            members[name] = member
    return members


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> NDArray[Any]:
    with archive.open(member) as stream:
        _check_header(stream, member, name)
    with archive.open(member) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        if stream.read(1):
            raise ValueError(f"array {name!r} has more bytes than its header says")
    return array


def _check_header(stream: IO[bytes], member: zipfile.ZipInfo, name: str) -> None:
    """Compare the size in the array's header, for which numpy takes the memory, with the member's."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"array {name!r} of format {version}, expected 1.0 or 2.0")
    number = version[0]
    read = np.lib.format.read_array_header_1_0 if number == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError(f"Object arrays cannot be loaded: {name!r}")
    size = dtype.itemsize
    for length in shape:
        size *= length  # Python's integers do not overflow
    if min(shape, default=0) < 0 or stream.tell() + size != member.file_size:
        raise ValueError(f"array {name!r} {shape} {dtype} does not fit its {member.file_size:,} bytes")
