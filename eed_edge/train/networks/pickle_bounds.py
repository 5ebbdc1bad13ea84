"""Refuse ``torch.save`` files that would take far more time or memory than their size lets expect."""

import pickletools
import zipfile
from io import BufferedReader
from typing import IO

from eed_edge.files.npz_archive import check_directory

_MOST_DEPTH = 16  # of tuples in tuples by reference; hashing one doubles its work with each
_MOST_DIRECTORY = 4 * 2**20  # bytes of an archive's list of members
_LEGACY_PICKLES = 5  # in front of the numbers of a file of torch before 1.6
_TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")


def check_pickles(stream: BufferedReader) -> None:
    """Check the archive and the pickles of an opened file; the position is at its beginning afterwards.

    Raises:
        ValueError: members that are compressed or larger than the file, or tuples of tuples of tuples. A
            damaged file can make zipfile and pickletools raise other types too.
    """
    if stream.read(2) == b"PK":
        check_directory(stream, most_bytes=_MOST_DIRECTORY)
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > stream.seek(0, 2):
                raise ValueError("members of more bytes than the file, torch.save does not compress them")
            for member in members:
                if member.filename.endswith("/data.pkl"):
                    with archive.open(member) as inner:
                        _check_references(inner)
    else:
        stream.seek(0)
        for _ in range(_LEGACY_PICKLES):
            if stream.peek(1):
                _check_references(stream)
    stream.seek(0)


def _check_references(stream: IO[bytes]) -> None:
    """Bound the depth of tuples that hold earlier tuples by reference, read up to the pickle's end.

    A tuple counts as one deeper than the deepest that was referred to before it, in it or not.
    """
    depths: dict[object, int] = {}  # of the remembered tuples
    deepest, made = 0, 0
    for opcode, argument, _ in pickletools.genops(stream):
        if "PUT" in opcode.name or opcode.name == "MEMOIZE":
            key = len(depths) if argument is None else argument
            depths[key] = made
        elif "GET" in opcode.name:
            deepest = max(deepest, depths.get(argument, 0))
        made = deepest + 1 if opcode.name in _TUPLES else 0
        if made > _MOST_DEPTH:
            raise ValueError(f"tuples inside tuples more than {_MOST_DEPTH} deep")
