"""The Python examples run as they are."""

import io
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.conftest import Flow, call

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


RECIPE = """
data = { tune = 0.2, calib = 0.2, flip = false, crop = 0 }
base = { epochs = 2, attack = "none", batch = 32, averaging = 0.8 }
scores = { names = ["erm", "ase"], images = 8, search = false }
prune = { sparsity = 0.1, member_share = 0.45, round_to = 1 }
pool = { epochs = 1, attack = "none", batch = 32, subsets = 1, averaging = 0.5 }
select = { member_gap = 1.0 }
joint = { epochs = 1, attack = "none", batch = 32, averaging = 0.8 }
"""


def test_train_own_network_makes_and_measures_a_bundle(monkeypatch, capsys, tmp_path):
    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images[:260] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    np.savez(tmp_path / "digits.npz", images=pixels, labels=labels[:260])
    (tmp_path / "own.toml").write_text(RECIPE)
    words = (tmp_path / "digits.npz", tmp_path / "out", tmp_path / "own.toml")
    run(monkeypatch, "train_own_network.py", *words)
    clean, answer = capsys.readouterr().out.splitlines()[-2:]
    assert clean.startswith("clean: 0.")
    assert answer.startswith("<Cascade 'own': 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9); images (n, 1, 8, 8)")
    again = call("attack", tmp_path / "out" / "run", tmp_path / "out" / "bundle")
    assert "the images that this run was trained on, which were given in Python" in again.stderr


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


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty", None, "expected PNG or JPEG pictures, got none"),
        ("missing.y4m", None, "No such file"),
        ("other.mjpeg", b"GIF89a", "expected a JPEG picture, got b'GIF89a'"),
    ],
)
def test_camera_says_in_one_line_what_is_wrong_with_its_source(
    flow: Flow, monkeypatch, tmp_path, name, data, message
):
    (tmp_path / "empty").mkdir()
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        run(monkeypatch, "camera.py", flow.bundle, tmp_path / name)


def test_every_example_is_tested():
    tested = Path(__file__).read_text()
    assert all(f'"{path.name}"' in tested for path in EXAMPLES.glob("*.py"))
