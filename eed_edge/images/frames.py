"""Read video streams, Y4M (YUV4MPEG2, 8 bits) and MJPEG, as pictures by numpy alone, at a camera's rate.

Both come from files and from pipes, such as ``ffmpeg -i CAMERA -f yuv4mpegpipe -`` or ``libcamera-vid --codec
mjpeg -o -``. JPEG pictures need Pillow.
"""

import io
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import numpy as np

from eed_edge.arrays import Uint8
from eed_edge.errors import InputError
from eed_edge.images.preprocess import MAX_PIXELS, decode_picture

Frame = TypeVar("Frame")
CHROMA = {
    **dict.fromkeys(("420", "420jpeg", "420mpeg2", "420paldv"), (2, 2)),
    "422": (1, 2),
    "444": (1, 1),
    "mono": None,
}
"""Colour spaces of Y4M with 8 bits: how many rows and columns share a colour; None: there is none."""
_LONGEST_LINE = 4096
_PIECE = 2**16  # bytes read at once
_SKIPPED = 4096
_LARGEST_JPEG = 64 * 2**20


@dataclass(frozen=True)
class Y4mHeader:
    """Content of the first line of a Y4M stream.

    chroma: a key of ``CHROMA``.
    full_range: brightness is 0 to 255, not 16 to 235.
    frames_per_second: None where it is not given.
    """

    width: int
    height: int
    chroma: str
    full_range: bool
    frames_per_second: float | None


def read_y4m(stream: BinaryIO) -> Iterator[Uint8]:
    """Yield the frames of a Y4M stream, ``(h, w, 3)`` RGB by ITU-R BT.601, or ``(h, w, 1)`` grey.

    Raises:
        InputError: another format, a colour space of more than 8 bits, or a frame that is cut off.
    """
    header = read_y4m_header(stream)
    shared, size = CHROMA[header.chroma], header.height * header.width
    plane = (0, 0) if shared is None else (-(-header.height // shared[0]), -(-header.width // shared[1]))
    length, number = size + 2 * plane[0] * plane[1], 0
    while line := stream.readline(_LONGEST_LINE):
        if not line.startswith(b"FRAME") or not line.endswith(b"\n"):
            raise InputError(f"Y4M frame {number}: expected FRAME, got {line[:20]!r}; write the stream again")
        data = _read_fully(stream, length)
        if len(data) < length:
            raise InputError(f"Y4M frame {number}: expected {length} bytes, got {len(data)}; it is cut off")
        values = np.frombuffer(data, np.uint8)
        luma = values[:size].reshape(header.height, header.width)
        chroma = values[size:].reshape(2, *plane)
        if shared is not None:
            chroma = chroma.repeat(shared[0], 1).repeat(shared[1], 2)[:, : header.height, : header.width]
        yield _rgb(luma, None if shared is None else chroma, header.full_range)
        number += 1


def read_y4m_header(stream: BinaryIO) -> Y4mHeader:
    """Read the first line of a Y4M stream.

    Raises:
        InputError: another format, or a size, rate or colour space that cannot be used.
    """
    line = stream.readline(_LONGEST_LINE)
    words = line.decode("ascii", "replace").split()
    if words[:1] != ["YUV4MPEG2"] or not line.endswith(b"\n"):
        raise InputError(f"expected a Y4M stream, which starts with YUV4MPEG2, got {line[:20]!r}")
    fields = {word[0]: word[1:] for word in words[1:] if word[0] != "X"}
    space = fields.get("C", "420")
    try:
        width, height = int(fields["W"]), int(fields["H"])
        above, below = map(int, fields.get("F", "0:0").split(":"))
    except (KeyError, ValueError) as error:
        raise InputError(f"expected a Y4M header with W, H and F, got {line[:80]!r}") from error
    if space not in CHROMA:
        raise InputError(f"expected a Y4M colour space out of {', '.join(CHROMA)}, got {space}; convert it")
    if min(width, height) < 1 or width * height > MAX_PIXELS:
        raise InputError(f"expected Y4M frames of 1 to {MAX_PIXELS:,} pixels, got {width}x{height}")
    rate = above / below if above > 0 and below > 0 else None
    return Y4mHeader(width, height, space, "XCOLORRANGE=FULL" in words, rate)


def read_mjpeg(stream: BinaryIO) -> Iterator[Uint8]:
    """Yield the pictures of JPEG files that follow one another, as ``read_picture`` decodes them.

    Up to 4,096 other bytes before a picture are skipped: padding, or the headers of a multipart HTTP stream.

    Raises:
        InputError: bytes that are no JPEG picture, or the last one is cut off.
        DeviceError: Pillow is not installed.
    """
    read = getattr(stream, "read1", stream.read)  # of a pipe, what has arrived
    buffer, number = bytearray(), 0
    while True:
        del buffer[: _jpeg_start(buffer)]
        end = _jpeg_end(buffer, number)
        if end is not None:
            yield decode_picture(io.BytesIO(buffer[:end]), f"MJPEG frame {number}")
            del buffer[:end]
            number += 1
        elif part := read(_PIECE):
            buffer += part
        elif _is_jpeg(buffer):
            raise InputError(f"MJPEG frame {number}: expected a whole JPEG picture; it is cut off")
        elif buffer and not number:
            raise InputError(f"MJPEG frame 0: expected a JPEG picture, got {bytes(buffer[:8])!r}")
        else:
            return


def paced(
    frames: Iterable[Frame],
    frames_per_second: float,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Frame]:
    """Yield frames of a file at the rate of a camera: frame i no earlier than ``i / frames_per_second``."""
    started = now()
    for number, frame in enumerate(frames):
        if (wait := started + number / frames_per_second - now()) > 0:
            sleep(wait)
        yield frame


def _rgb(luma: Uint8, chroma: Uint8 | None, full_range: bool) -> Uint8:
    """Return ``(h, w, 3)``, or ``(h, w, 1)`` without colours ``(2, h, w)``, blue first."""
    scale, offset = (1.0, 0) if full_range else (255 / 219, 16)
    grey = (luma.astype(np.float32) - offset) * scale
    channels = [grey]
    if chroma is not None:
        blue, red = (chroma.astype(np.float32) - 128) * (1.0 if full_range else 255 / 224)
        channels = [grey + 1.402 * red, grey - 0.344136 * blue - 0.714136 * red, grey + 1.772 * blue]
    pixels: Uint8 = np.clip(np.rint(np.stack(channels, axis=2)), 0, 255).astype(np.uint8)
    return pixels


def _read_fully(stream: BinaryIO, length: int) -> bytes:
    """Read ``length`` bytes, from a pipe too, which gives fewer at a time; less only at its end."""
    parts, left = [], length
    while left and (part := stream.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _is_jpeg(data: bytearray) -> bool:
    return data[:2] == b"\xff\xd8"


def _jpeg_start(data: bytearray) -> int:
    """Return where the first picture begins; 0 if none does within what may be skipped."""
    return max(0, data.find(b"\xff\xd8", 0, _SKIPPED))


def _jpeg_end(data: bytearray, number: int) -> int | None:
    """Return where the JPEG file at the start of ``data`` ends, by its segments; None: it is incomplete."""
    at = 2
    if not _is_jpeg(data) and len(data) < _SKIPPED:
        return None
    if not _is_jpeg(data) or len(data) > _LARGEST_JPEG:
        raise InputError(f"MJPEG frame {number}: expected a JPEG picture, got {bytes(data[:8])!r}")
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise InputError(
                f"MJPEG frame {number}: expected a JPEG segment, got {bytes(data[at : at + 4])!r}"
            )
        if data[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue
        after = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA:  # from here on a byte 255 of the picture is followed by 0
            end = data.find(b"\xff\xd9", after)
            return None if end < 0 else end + 2
        at = after
    return None
