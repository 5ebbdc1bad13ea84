"""Pictures made to exhaust or to deceive: each function writes one, ``HOSTILE_PICTURES`` lists them."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.hostile import special_files


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(width, height, rows):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def huge_png(folder):
    """A few bytes that claim 3.6 gigapixels."""
    return _write(folder / "huge.png", _png(60_000, 60_000, zlib.compress(b"\0" * 1000)))


def bomb_png(folder):
    """A whole picture of 49 megapixels in 150 kB, of a format that cannot be decoded smaller."""
    row = zlib.compressobj(9)
    rows = b"".join(row.compress(b"\0" * (7000 * 3 + 1)) for _ in range(7000)) + row.flush()
    return _write(folder / "bomb.png", _png(7000, 7000, rows))


def endless_png(folder):
    """A small picture whose compressed rows go on for 100 MB; the surplus is never unpacked."""
    return _write(folder / "endless.png", _png(4, 4, zlib.compress(b"\0" * 100_000_000, 9)))


def text_png(folder):
    """Compressed text of 100 MB in front of a small picture."""
    packed = zlib.compress(b"a" * 100_000_000, 9)
    complete = _png(4, 4, zlib.compress(b"\0" * 52))
    return _write(folder / "text.png", complete[:33] + _chunk(b"zTXt", b"k\0\0" + packed) + complete[33:])


def huge_jpeg(folder):
    """A JPEG whose header claims 65,500 x 65,500 pixels."""
    path = small_picture(folder, "huge.jpg")
    raw = bytearray(path.read_bytes())
    at = raw.index(b"\xff\xc0")
    raw[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
    return _write(path, bytes(raw))


def progressive_jpeg(folder):
    """A progressive JPEG of 25 megapixels, whose coefficients must all be in memory at once."""
    path = folder / "progressive.jpg"
    Image.new("RGB", (5000, 5000)).save(path, progressive=True, subsampling=0)
    return path


def many_scans(folder):
    """A progressive JPEG of 16 megapixels with 20,000 empty scans, minutes of work in 700 kB."""
    path = folder / "scans.jpg"
    Image.new("RGB", (4096, 4096)).save(path, progressive=True)
    raw = path.read_bytes()
    return _write(path, raw[:-2] + raw[raw.rindex(b"\xff\xda") : -2] * 20_000 + raw[-2:])


def separate_scans(folder):
    """A baseline JPEG of 48 megapixels, a scan for each colour: all coefficients are in memory at once."""
    path = folder / "separate.jpg"
    Image.new("L", (8000, 6000), 100).save(path)
    raw = path.read_bytes()
    frame, scan = raw.index(b"\xff\xc0"), raw.index(b"\xff\xda")
    colours = [bytes([i]) for i in (1, 2, 3)]
    header = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, 6000, 8000, 3)
    header += b"".join(colour + b"\x11\0" for colour in colours)
    scans = [b"\xff\xda\0\x08\x01" + colour + raw[scan + 6 : -2] for colour in colours]
    return _write(path, raw[:frame] + header + raw[frame + 13 : scan] + b"".join(scans) + raw[-2:])


def many_segments(folder):
    """A JPEG with two million empty segments in front of the picture."""
    path = small_picture(folder, "segments.jpg")
    raw = path.read_bytes()
    return _write(path, raw[:2] + b"\xff\xe1\0\x02" * 2_000_000 + raw[2:])


def filled_jpeg(folder):
    """A JPEG with five megabytes of filling in front of the picture."""
    path = small_picture(folder, "filled.jpg")
    raw = path.read_bytes()
    return _write(path, raw[:2] + b"\xff" * 5_000_000 + raw[2:])


def plain_ppm(folder):
    """A PPM in digits whose comments are read again and again."""
    return _write(folder / "plain.ppm", b"P3 64 64 255\n" + b"#\n" * 2_000_000)


def odd_ppm(folder):
    """A PPM of eight levels, which is unpacked number by number."""
    return _write(folder / "odd.ppm", b"P6 2000 2000 7\n" + bytes(12_000_000))


def run_length_bmp(folder):
    """A BMP of 4 megapixels in runs of one pixel."""
    path = folder / "runs.bmp"
    Image.new("P", (2048, 2048)).save(path)
    raw = bytearray(path.read_bytes()[: int.from_bytes(path.read_bytes()[10:14], "little")])
    raw[30:34] = (1).to_bytes(4, "little")
    return _write(path, bytes(raw) + b"\x01\0" * 2048 * 2000)


def huge_ppm(folder):
    """A PPM header that claims 10**12 pixels, and no pixels."""
    return _write(folder / "huge.ppm", b"P6 1000000 1000000 255\n")


def huge_bmp(folder):
    """A BMP whose header claims 2**31 - 1 pixels a row."""
    path = small_picture(folder, "huge.bmp")
    raw = bytearray(path.read_bytes())
    raw[18:26] = struct.pack("<ii", 2**31 - 1, 4)
    return _write(path, bytes(raw))


def huge_webp(folder):
    """A WebP animation whose canvas has 2**28 pixels."""
    path = folder / "huge.webp"
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    raw = bytearray(path.read_bytes())
    at = raw.index(b"VP8X") + 12
    raw[at : at + 6] = (16_383).to_bytes(3, "little") * 2
    return _write(path, bytes(raw))


def cut_jpeg(folder):
    """The first half of a JPEG."""
    path = small_picture(folder, "cut.jpg", side=64)
    return _write(path, path.read_bytes()[: path.stat().st_size // 2])


def empty_file(folder):
    """No bytes."""
    return _write(folder / "empty.png", b"")


def pickled_file(folder):
    """Another format with a picture's name."""
    return _write(folder / "pickle.png", b"\x80\x04N.")


def small_picture(folder, name, *, side=4):
    """A harmless picture of ``side`` by ``side`` pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def large_photograph(folder):
    """A whole baseline JPEG of 48 megapixels; not hostile where it is scaled down."""
    path = folder / "photograph.jpg"
    Image.new("RGB", (8000, 6000), (40, 90, 200)).save(path)
    return path


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


HOSTILE_PICTURES = (
    huge_png,
    bomb_png,
    text_png,
    huge_jpeg,
    progressive_jpeg,
    many_scans,
    separate_scans,
    many_segments,
    filled_jpeg,
    plain_ppm,
    odd_ppm,
    run_length_bmp,
    huge_ppm,
    huge_bmp,
    huge_webp,
    cut_jpeg,
    empty_file,
    pickled_file,
    *special_files.with_suffix(".png"),
)
"""Each takes a folder and returns the path of a picture that must be refused."""
