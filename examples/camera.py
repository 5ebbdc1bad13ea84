"""Classify the newest frame of a camera, a stream or a folder, again and again.

python examples/camera.py build/demo/bundle pictures/          # a folder, played as a camera
python examples/camera.py build/demo/bundle video.y4m          # a file, at its own rate
ffmpeg -i INPUT -f yuv4mpegpipe - | python examples/camera.py build/demo/bundle -
libcamera-vid --codec mjpeg -t 0 -o - | python examples/camera.py build/demo/bundle - --mjpeg
python examples/camera.py build/demo/bundle 0                  # camera 0, where OpenCV is installed
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eed_edge
from eed_edge.errors import EedError
from eed_edge.images.frames import paced, read_mjpeg, read_y4m, read_y4m_header
from eed_edge.images.preprocess import read_picture


def folder_frames(folder: Path, rate: float) -> Iterator[Any]:
    """Yield the pictures of a folder in the order of their names."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not files:
        sys.exit(f"error: {folder}: expected PNG or JPEG pictures, got none; name another folder")
    return paced((read_picture(path) for path in files), rate)


def file_frames(path: Path, rate: float | None) -> Iterator[Any]:
    """Yield the frames of a Y4M or MJPEG file."""
    if path.suffix.lower() == ".y4m":
        with path.open("rb") as stream:
            header_rate = read_y4m_header(stream).frames_per_second
        with path.open("rb") as stream:
            yield from paced(read_y4m(stream), rate or header_rate or 25)
    else:
        with path.open("rb") as stream:
            yield from paced(read_mjpeg(stream), rate or 25)


def opencv_frames(camera: int) -> Iterator[Any]:
    """Yield the frames of a camera as RGB."""
    try:
        import cv2
    except ImportError:
        sys.exit("error: expected OpenCV for a camera by number; run: pip install opencv-python-headless")
    capture = cv2.VideoCapture(camera)
    if not capture.isOpened():
        sys.exit(f"error: expected camera {camera}, it cannot be opened; name another one")
    while True:
        there, frame = capture.read()
        if not there:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def source(name: str, rate: float | None, *, mjpeg: bool) -> Iterator[Any]:
    """Return the frames of a folder, a file, standard input (``-``) or a camera's number, uint8."""
    if name == "-":
        return (read_mjpeg if mjpeg else read_y4m)(sys.stdin.buffer)
    if name.isdigit():
        return opencv_frames(int(name))
    return folder_frames(Path(name), rate or 25) if Path(name).is_dir() else file_frames(Path(name), rate)


def main() -> None:
    """Print a line per answer: frame, class, probability, milliseconds since it arrived, frames dropped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("source")
    parser.add_argument("--rate", type=float, help="frames a second of a folder or file")
    parser.add_argument("--mjpeg", action="store_true", help="standard input is MJPEG, not Y4M")
    words = parser.parse_args()
    net = eed_edge.load(words.bundle)
    frames = source(words.source, words.rate, mjpeg=words.mjpeg)
    total = 0
    for answer in net.predict_latest(frames):
        label = int(answer.prediction.labels[0])
        total += answer.dropped
        print(
            f"frame {answer.frame}: {net.manifest.classes[label]}  {answer.prediction.probs[0, label]:.3f}"
            f"{'  (abstained)' if answer.prediction.abstained[0] else ''}"
            f"  {1000 * (answer.answered_s - answer.arrived_s):.1f} ms old, {total} dropped so far",
            flush=True,
        )


if __name__ == "__main__":
    try:
        main()
    except (EedError, OSError) as error:
        sys.exit(f"error: {error}")
