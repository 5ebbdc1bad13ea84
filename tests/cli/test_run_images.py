"""What ``eed-edge run`` takes beside pictures and NPZ sets, and what it says of truth and errors."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import eed_edge
from eed_edge.cli import main
from eed_edge.cli.use.run import _predictions
from eed_edge.cli.use.run_images import InputPicture
from eed_edge.errors import InferenceError
from eed_edge.runtime.engine.prediction import Prediction
from tests.conftest import call
from tests.formats.stored import DATA, STORED

BUNDLE = STORED / "bundle"


@pytest.fixture(scope="module")
def stored():
    """Images ``(n, 8, 8)`` and labels of the stored test set, and the stored bundle's answers to them."""
    with np.load(DATA / "test.npz") as arrays:
        images, labels = arrays["images"].squeeze(), arrays["labels"]
    return images, labels, answers(DATA / "test.npz")


def answers(*words):
    return [json.loads(line) for line in call("run", BUNDLE, *words, "--json").stdout.splitlines()]


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def test_a_folder_stands_for_its_pictures_sorted_and_subfolders_named_like_classes_for_labels(
    stored, tmp_path
):
    images, labels, records = stored
    for i in range(6):
        save(tmp_path / "own" / str(labels[i]) / f"{i}.png", images[i])
    save(tmp_path / "own" / "attic" / "6.png", images[6])
    save(tmp_path / "own" / "7.png", images[7])
    (tmp_path / "own" / "notes.txt").write_text("no picture")
    (tmp_path / "own" / ".hidden.png").write_text("no picture")
    shown = answers(tmp_path / "own")
    inside = sorted(range(6), key=lambda i: (labels[i], i))
    names = [f"{labels[i]}/{i}.png" for i in inside]
    assert [line["file"] for line in shown] == [
        str(tmp_path / "own" / name) for name in ["7.png", *names, "attic/6.png"]
    ]
    assert [line.get("truth") for line in shown] == [None, *(labels[i] for i in inside), None]
    assert [line["label"] for line in shown] == [records[i]["label"] for i in (7, *inside, 6)]


def test_accuracy_is_printed_where_labels_are_known_and_does_not_mix_with_json(stored):
    _, labels, records = stored
    right = sum(line["label"] == label for line, label in zip(records, labels, strict=True))
    line = f"accuracy {100 * right / len(labels):.1f} %: {right} of {len(labels)} images with a label"
    plain, as_json = call("run", BUNDLE, DATA / "test.npz"), call("run", BUNDLE, DATA / "test.npz", "--json")
    assert plain.stdout.splitlines()[-1] == line
    assert plain.stdout.count("(truth ") == len(labels) - right
    wrong = next(label for line, label in zip(records, labels, strict=True) if line["label"] != label)
    assert f"(truth {eed_edge.load(BUNDLE).manifest.classes[wrong]})" in plain.stdout
    assert as_json.stderr == f"{line}\n"
    assert len(as_json.stdout.splitlines()) == len(labels)


def test_a_picture_comes_from_standard_input(stored, tmp_path):
    images, _, records = stored
    picture = save(tmp_path / "x.png", images[3]).read_bytes()

    def run(content):
        return CliRunner().invoke(main, ["run", str(BUNDLE), "-", "--json"], input=content)

    line = json.loads(run(picture).stdout)
    assert (line["file"], line["probability"]) == ("-", records[3]["probability"])
    assert run(b"").stderr == "error: expected one picture on standard input, got nothing; write one to it\n"
    assert "error: standard input: expected a readable picture" in run(b"text").stderr
    assert run(b"text").exit_code == 1


def test_the_network_s_own_input_in_an_npz_file_is_taken_as_it_is(tmp_path):
    with np.load(BUNDLE / "golden.npz") as arrays:
        images, labels = arrays["images"], arrays["labels"]
    lines = answers(BUNDLE / "golden.npz")
    assert [line["label"] for line in lines] == list(labels)
    assert "truth" not in lines[0]  # the labels there are answers
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    assert [line["truth"] for line in answers(tmp_path / "x.npz")] == list(labels)
    np.savez(tmp_path / "y.npz", images=images[:, :, 1:])
    result = call("run", BUNDLE, tmp_path / "y.npz")
    assert "expected images (n, h, w, c) uint8, got (16, 1, 7, 8) float32" in result.stderr


def test_errors_come_after_the_rows_and_a_table_without_rows_has_no_head(stored, tmp_path):
    picture = save(tmp_path / "x.png", stored[0][0])
    result = call("run", BUNDLE, tmp_path / "none.png", picture, tmp_path / "bare")
    head, row, error, other = result.output.splitlines()  # both streams, as they were written
    assert head.split()[0] == "label"
    assert row.endswith(str(picture))
    assert error.startswith(f"error: {tmp_path}/none.png: expected a readable picture")
    assert other.startswith(f"error: {tmp_path}/bare")
    assert result.exit_code == 1
    alone = call("run", BUNDLE, tmp_path / "none.png")
    assert (alone.exit_code, alone.stdout) == (1, "")


def test_an_npz_file_that_is_out_of_range_is_named_and_stops_no_other(stored, tmp_path):
    picture = save(tmp_path / "x.png", stored[0][0])
    with np.load(BUNDLE / "golden.npz") as arrays:
        np.savez(tmp_path / "y.npz", images=arrays["images"] * 255)
    result = call("run", BUNDLE, picture, tmp_path / "none.png", tmp_path / "y.npz", picture)
    lines = result.output.splitlines()
    assert [line.endswith(str(picture)) for line in lines[1:3]] == [True, True]
    assert lines[3].startswith(f"error: {tmp_path}/none.png: expected a readable picture")
    assert lines[4].startswith(f"error: {tmp_path}/y.npz[0]: expected pixels in [0, 1]")
    assert result.exit_code == 1


def test_a_picture_without_an_answer_stops_no_other():
    values = {"a": 0, "b": 1, "c": 0}
    pictures = [InputPicture(name, np.full((1, 2, 2), value, np.float32)) for name, value in values.items()]

    def net(images):
        if images.max() == 1:
            raise InferenceError("all sub-models failed")
        zeros = np.zeros(len(images), np.int64)
        return Prediction(np.zeros((len(images), 2)), zeros, zeros, zeros, True, (), zeros > 0)

    errors: list[str] = []
    answered = [picture.name for picture, _, _ in _predictions(net, pictures, errors)]
    assert (answered, errors) == (["a", "c"], ["b: all sub-models failed"])


def test_a_folder_without_pictures_is_an_error(tmp_path):
    (tmp_path / "bare").mkdir()
    result = call("run", BUNDLE, tmp_path / "bare")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "expected pictures (.png, .jpg, .jpeg, .webp, .bmp, .ppm, .pgm) in this folder" in result.stderr


def test_the_bundle_behind_the_files_is_a_wrong_call(tmp_path):
    result = call("run", DATA / "test.npz", BUNDLE)
    assert result.exit_code == 2
    assert f"BUNDLE comes first, got {DATA / 'test.npz'} before the bundle {BUNDLE}" in result.stderr
