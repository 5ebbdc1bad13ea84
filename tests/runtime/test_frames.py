"""Frames of Y4M and MJPEG streams against Pillow and the standard's own formulas."""

import io
import os
import threading

import numpy as np
import pytest
from PIL import Image

from eed_edge.errors import InputError
from eed_edge.images.frames import paced, read_mjpeg, read_y4m, read_y4m_header


def picture(seed, height=6, width=10):
    """Smooth colours, so that halved colour planes lose little."""
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    red, green, blue = (np.sin(seed + k + 3 * rows + 2 * columns) / 2 + 0.5 for k in range(3))
    return np.rint(255 * np.stack([red, green, blue], axis=2)).astype(np.uint8)


def limited(rgb):
    """Y, Cb and Cr by ITU-R BT.601 with 16 to 235 and 16 to 240, ``(3, h, w)`` float."""
    r, g, b = np.moveaxis(rgb / 255, 2, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return np.stack([16 + 219 * y, 128 + 224 * (b - y) / 1.772, 128 + 224 * (r - y) / 1.402])


def full(rgb):
    """As Pillow converts."""
    return np.moveaxis(np.asarray(Image.fromarray(rgb).convert("YCbCr")).astype(float), 2, 0)


def y4m(frames, space, planes_of, words=""):
    height, width = frames[0].shape[:2]
    parts = [f"YUV4MPEG2 W{width} H{height} F30000:1001 Ip A1:1 {space} {words}".strip().encode() + b"\n"]
    rows, columns = {"C444": (1, 1), "C422": (1, 2), "Cmono": (1, 1)}.get(space, (2, 2))
    for frame in frames:
        luma, *chroma = planes_of(frame)
        chroma = [] if space == "Cmono" else [plane[::rows, ::columns] for plane in chroma]
        data = [np.rint(plane).astype(np.uint8).tobytes() for plane in (luma, *chroma)]
        parts += [b"FRAME Ip\n", *data]
    return b"".join(parts)


SPACES = [("C444", 4), ("C422", 60), ("C420jpeg", 80), ("C420mpeg2", 80), ("", 80)]


@pytest.mark.parametrize("size", [(6, 10), (7, 9)])
@pytest.mark.parametrize(("planes_of", "words"), [(limited, ""), (full, "XCOLORRANGE=FULL")])
@pytest.mark.parametrize(("space", "apart"), SPACES)
def test_a_y4m_frame_has_the_colours_that_were_put_in(space, apart, planes_of, words, size):
    pictures = [picture(seed, *size) for seed in range(3)]
    frames = list(read_y4m(io.BytesIO(y4m(pictures, space, planes_of, words))))
    assert len(frames) == 3
    for frame, original in zip(frames, pictures, strict=True):
        assert (frame.shape, frame.dtype) == (original.shape, np.uint8)
        assert np.abs(frame.astype(int) - original).max() <= apart


def test_a_grey_y4m_stream_has_one_channel_and_the_header_tells_the_rate():
    stream = y4m([picture(0)], "Cmono", full, "XCOLORRANGE=FULL")
    (frame,) = read_y4m(io.BytesIO(stream))
    np.testing.assert_array_equal(frame[:, :, 0], full(picture(0))[0])
    header = read_y4m_header(io.BytesIO(stream))
    assert (header.width, header.height, header.chroma) == (10, 6, "mono")
    assert header.frames_per_second == pytest.approx(29.97, abs=0.001)


DAMAGED_Y4M = [
    (b"", "expected a Y4M stream, which starts with YUV4MPEG2, got b''"),
    (b"RIFF....AVI LIST", "which starts with YUV4MPEG2"),
    (b"YUV4MPEG2 W4 H4 C420p10\n", "expected a Y4M colour space out of 420, .*, got 420p10; convert it"),
    (b"YUV4MPEG2 W4 H4 C444alpha\n", "got 444alpha"),
    (b"YUV4MPEG2 W4\n", "expected a Y4M header with W, H and F"),
    (b"YUV4MPEG2 W4 Hx\n", "expected a Y4M header with W, H and F"),
    (b"YUV4MPEG2 W0 H4\n", "expected Y4M frames of 1 to 50,000,000 pixels, got 0x4"),
    (b"YUV4MPEG2 W999999 H999999\n", "got 999999x999999"),
    (b"YUV4MPEG2 W2 H2 Cmono\nFRAME\n12345", "frame 1: expected FRAME, got b'5'"),
    (b"YUV4MPEG2 W2 H2 Cmono\nFRAME\n123", "frame 0: expected 4 bytes, got 3; it is cut off"),
]


@pytest.mark.parametrize(("data", "message"), DAMAGED_Y4M)
def test_a_damaged_y4m_stream_is_one_line(data, message):
    with pytest.raises(InputError, match=message):
        list(read_y4m(io.BytesIO(data)))


def jpeg(rgb, **options):
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", **options)
    return stream.getvalue()


def with_thumbnail(rgb):
    """A JPEG whose EXIF segment has another JPEG inside."""
    inside = b"Exif\0\0" + jpeg(picture(9))
    data = jpeg(rgb)
    return data[:2] + b"\xff\xe1" + (len(inside) + 2).to_bytes(2, "big") + inside + data[2:]


def test_pictures_of_an_mjpeg_stream_are_those_of_its_files():
    files = [jpeg(picture(0)), jpeg(picture(1, 40, 30), progressive=True), with_thumbnail(picture(2, 90, 80))]
    expected = [np.asarray(Image.open(io.BytesIO(data))) for data in files]
    for frame, original in zip(read_mjpeg(io.BytesIO(b"".join(files))), expected, strict=True):
        np.testing.assert_array_equal(frame, original)


@pytest.mark.parametrize(
    "between", [b"\0\0", b"\r\n", b"\r\n--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 700\r\n\r\n"]
)
def test_what_stands_between_the_pictures_of_a_stream_is_skipped(between):
    files = [jpeg(picture(seed)) for seed in range(3)]
    files[1] = files[1][:2] + b"\xff" + files[1][2:]  # a fill byte before the first segment
    stream = b"".join(between + file for file in files) + between
    assert len(list(read_mjpeg(io.BytesIO(stream)))) == 3


def test_a_pipe_gives_a_frame_as_soon_as_it_is_there():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        frames = read_mjpeg(stream)
        for seed in range(3):
            threading.Thread(target=pipe.write, args=(jpeg(picture(seed)),)).start()
            assert next(frames).shape == (6, 10, 3)
        pipe.close()
        assert next(frames, None) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GIF89a", "MJPEG frame 0: expected a JPEG picture, got b'GIF89a'"),
        (jpeg(picture(0))[:-5], "MJPEG frame 0: expected a whole JPEG picture; it is cut off"),
        (jpeg(picture(0)) + b"\xff\xd8\xff", "MJPEG frame 1: expected a whole JPEG picture"),
        (jpeg(picture(0)) + bytes(5000), "MJPEG frame 1: expected a JPEG picture"),
        (b"\xff\xd8\x00\x01\x02\x03", "MJPEG frame 0: expected a JPEG segment"),
        (b"\xff\xd8\xff\xda\x00\x02...\xff\xd9", "MJPEG frame 0: expected a readable picture"),
    ],
)
def test_a_damaged_mjpeg_stream_is_one_line(data, message):
    with pytest.raises(InputError, match=message) as caught:
        list(read_mjpeg(io.BytesIO(data)))
    assert "\n" not in str(caught.value)


def test_frames_of_a_file_come_at_the_pace_of_a_camera():
    clock, slept = [10.0], []

    def sleep(seconds):
        slept.append(seconds)
        clock[0] += seconds

    frames = []
    for frame in paced("abcd", 20, now=lambda: clock[0], sleep=sleep):
        frames.append(frame)
        clock[0] += 0.12 if frame == "b" else 0.01  # late after the second
    assert frames == list("abcd")
    assert slept == pytest.approx([0.04])
