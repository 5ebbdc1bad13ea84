"""Refuse pictures whose decoding would take far more time or memory than their size lets expect."""

from collections.abc import Container
from typing import IO, TYPE_CHECKING

from eed_edge.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

_MOST_SCANS = 64  # of a JPEG; progressive ones have about ten, and each passes over the whole picture
_MOST_SEGMENTS = 1000  # of 64 KiB each, before a JPEG's first scan; Pillow keeps them all
_MOST_FILLING = 1000  # bytes between these, which Pillow passes over one by one
_PIECE = 2**20  # bytes searched at a time


def check_jpeg(stream: IO[bytes]) -> int:
    """Return how many colours a JPEG has in its first scan, 0 for another file; the position stays.

    Raises:
        InputError: it has very many scans, or parts in front of the first.
    """
    position = stream.tell()
    colours = _first_scan(stream) if stream.read(2) == b"\xff\xd8" else 0
    if colours and (scans := _count(stream, b"\xff\xda")) > _MOST_SCANS:
        raise InputError(f"expected a JPEG of at most {_MOST_SCANS} scans, got {scans:,}")
    stream.seek(position)
    return colours


def check_decoder(image: "Image.Image", python_decoders: Container[str]) -> None:
    """Refuse what Pillow decodes in Python, pixel by pixel.

    Raises:
        InputError: a PPM in digits or of odd depth, a BMP in runs.
    """
    if any(tile[0] in python_decoders for tile in getattr(image, "tile", ())):
        raise InputError("expected a binary PPM of 8 or 16 bits or a BMP without compression, got another")


def _first_scan(stream: IO[bytes]) -> int:
    """Colours in the first scan, 0 if there is none, from the bytes after the first two."""
    filling = 0
    for _ in range(_MOST_SEGMENTS):
        marker = stream.read(2)
        while marker[:1] != b"\xff" or marker[1:] in (b"\xff", b"\0"):
            marker = marker[1:] + stream.read(1)
            filling += 1
            if len(marker) < 2:
                return 0
            if filling > _MOST_FILLING:
                raise InputError(f"expected a JPEG with few fill bytes, got more than {_MOST_FILLING:,}")
        if marker == b"\xff\xda":
            return int.from_bytes(stream.read(3)[2:], "big")
        stream.seek(max(int.from_bytes(stream.read(2), "big") - 2, 0), 1)
    raise InputError(f"expected a JPEG of at most {_MOST_SEGMENTS:,} segments, got more")


def _count(stream: IO[bytes], pattern: bytes) -> int:
    """Occurrences of two bytes in a whole stream."""
    count, last = 0, b""
    stream.seek(0)
    while piece := stream.read(_PIECE):
        count += (last + piece).count(pattern)
        last = piece[-1:]
    return count
