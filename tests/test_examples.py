"""The Python examples run as they are."""

import io
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Flow

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(monkeypatch: pytest.MonkeyPatch, name: str, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_classify_prints_a_line_an_image_and_the_accuracy(flow: Flow, monkeypatch, capsys, tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "pictures.npz", images=pictures, labels=np.arange(3))
    run(monkeypatch, "classify.py", flow.bundle, tmp_path / "pictures.npz")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == ["0", "1", "2"]
    assert all(line.endswith("sub-models") for line in lines[:-1])
    assert lines[-1].startswith("accuracy ")


def camera_lines(monkeypatch, capsys, *words):
    run(monkeypatch, "camera.py", *words)
    return capsys.readouterr().out.splitlines()


def test_camera_answers_a_folder_and_streams_to_their_end(flow: Flow, monkeypatch, capsys, tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (4, 8, 8), dtype=np.uint8)
    folder = tmp_path / "pictures"
    folder.mkdir()
    motion = b""
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{i}.png")
        Image.fromarray(picture).save(tmp_path / "one.jpg")
        motion += (tmp_path / "one.jpg").read_bytes()
    (tmp_path / "video.mjpeg").write_bytes(motion)
    stream = b"YUV4MPEG2 W8 H8 F100:1 Cmono\n" + b"".join(b"FRAME\n" + one.tobytes() for one in pictures)
    (tmp_path / "video.y4m").write_bytes(stream)
    for name in ("pictures", "video.mjpeg", "video.y4m"):
        lines = camera_lines(monkeypatch, capsys, flow.bundle, tmp_path / name, "--rate", 50)
        assert lines[-1].startswith("frame 3: ")
        assert len(lines) + int(lines[-1].split(", ")[1].split()[0]) == 4
    for words, data in (((), stream), (("--mjpeg",), motion)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert camera_lines(monkeypatch, capsys, flow.bundle, "-", *words)[-1].startswith("frame 3: ")


def test_every_example_is_tested():
    tested = Path(__file__).read_text()
    assert all(f'"{path.name}"' in tested for path in EXAMPLES.glob("*.py"))
