import json
import subprocess
import sys
import time

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import eed_edge
from eed_edge import cli
from eed_edge.cli import main
from eed_edge.errors import BundleError, StorageError
from eed_edge.runtime.engine.cascade import Cascade
from tests.runtime import tiny_onnx
from tests.runtime.conftest import npz
from tests.runtime.tiny_onnx import FAILS_UNLESS_SEVEN_IMAGES, NAN_AT_0


def call(*words, **settings):
    return CliRunner().invoke(main, [str(word) for word in words], **settings)


def save_picture(path, image):
    """An image ``(3, 4, 4)`` in [0, 1] as PNG; gives what will be read back."""
    pixels = np.round(image.transpose(1, 2, 0) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return (pixels.transpose(2, 0, 1) / np.float32(255)).astype(np.float32)


@pytest.fixture
def pictures(tiny, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    images = np.stack([save_picture(path, image) for path, image in zip(paths, tiny.images, strict=False)])
    return paths, images


def test_run_prints_a_json_line_per_picture_with_the_library_s_answer(tiny, pictures):
    paths, images = pictures
    result = call("run", tiny.folder, *paths, "--json")
    answer = eed_edge.load(tiny.folder)(images)
    assert result.exit_code == 0
    for i, line in enumerate(map(json.loads, result.stdout.splitlines())):
        assert list(line) == ["file", "label", "class", "probability", "submodels_used"]
        assert line["file"] == str(paths[i])
        assert (line["label"], line["submodels_used"]) == (answer.labels[i], answer.submodels_used[i])
        assert line["class"] == ("cat", "dog", "owl")[line["label"]]
        assert line["probability"] == pytest.approx(answer.probs[i].max())


def test_run_prints_a_table_for_people(tiny, pictures):
    paths, _ = pictures
    head, *rows = call("run", tiny.folder, *paths).stdout.splitlines()
    assert head.split() == ["label", "class", "probability", "sub-models", "file"]
    assert [row.split()[-1] for row in rows] == list(map(str, paths))


def test_run_takes_npz_files_and_says_the_truth_where_it_is_known(tiny, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), np.uint8)
    (tmp_path / "x.npz").write_bytes(npz(images=pixels, labels=np.arange(40) % 3))
    (tmp_path / "y.npz").write_bytes(npz(images=pixels[:1]))
    lines = [
        json.loads(line)
        for line in call(
            "run", tiny.folder, tmp_path / "x.npz", tmp_path / "y.npz", "--json"
        ).stdout.splitlines()
    ]
    assert [line["file"] for line in lines] == [f"{tmp_path}/x.npz[{i}]" for i in range(40)] + [
        f"{tmp_path}/y.npz[0]"
    ]
    assert [line.get("truth") for line in lines] == [i % 3 for i in range(40)] + [None]
    assert lines[0]["probability"] == pytest.approx(lines[-1]["probability"])


def test_an_unreadable_picture_is_named_and_loses_nothing_else(tiny, pictures):
    paths, _ = pictures
    paths[1].write_bytes(b"no picture")
    result = call("run", tiny.folder, *paths, paths[0].parent / "nowhere.jpg", "--json")
    assert result.exit_code == 1
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == [
        str(paths[i]) for i in (0, 2, 3)
    ]
    errors = result.stderr.splitlines()
    assert len(errors) == 2
    assert str(paths[1]) in errors[0]
    assert "nowhere.jpg" in errors[1]


def test_settings_of_run_reach_the_cascade(tiny, pictures):
    paths, _ = pictures

    def used(*words):
        lines = call("run", tiny.folder, *paths, "--json", *words).stdout.splitlines()
        return [json.loads(line)["submodels_used"] for line in lines]

    assert used("--threshold", 0) == [1] * 4
    assert used("--threshold", 0.999999, "--max-submodels", 2) == [2] * 4
    assert used("--rule", "agreement", "--threshold", 3) == [3] * 4
    assert used("--rule", "geometric", "--max-submodels", 1, "--threads", 2) == [1] * 4
    assert used("--threshold", 0, "--threads", 2, "--spinning", "--no-arena") == [1] * 4


def test_a_deadline_is_for_each_image_and_shows(tiny, pictures):
    paths, _ = pictures
    words = ("run", tiny.folder, *paths, "--deadline-ms", 0, "--threshold", 1)
    lines = [json.loads(line) for line in call(*words, "--json").stdout.splitlines()]
    assert [(line["submodels_used"], line["complete"]) for line in lines] == [(1, False)] * 4
    assert call(*words).stdout.count("(cut by the deadline)") == 4


@pytest.mark.parametrize(("words", "sizes"), [((), [4]), (("--deadline-ms", 1000), [1, 1, 1, 1])])
def test_pictures_go_in_batches_unless_each_has_a_deadline(tiny, pictures, monkeypatch, words, sizes):
    seen, answer = [], Cascade.__call__
    monkeypatch.setattr(
        Cascade, "__call__", lambda net, images: seen.append(len(images)) or answer(net, images)
    )
    call("run", tiny.folder, *pictures[0], *words)
    assert seen == sizes


def test_submodels_left_out_show(make_tiny, pictures):
    paths, _ = pictures
    folder = make_tiny(last={0: FAILS_UNLESS_SEVEN_IMAGES}).folder
    words = ("run", folder, *paths[:1])
    assert json.loads(call(*words, "--json").stdout)["failed_submodels"] == [0]
    assert "(without sub-models 0)" in call(*words).stdout


def test_a_submodel_left_out_shows_only_at_the_pictures_it_failed_for(make_tiny, tmp_path):
    broken = tiny_onnx.linear(np.ones((48, 3)), np.zeros(3), last=NAN_AT_0)
    folder = make_tiny(models={0: broken}).folder
    pixels = np.full((40, 4, 4, 3), 200, np.uint8)
    pixels[[2, 35]] = 0
    (tmp_path / "x.npz").write_bytes(npz(images=pixels))
    result = call("run", folder, tmp_path / "x.npz", "--json", "--threshold", 1)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [i for i, line in enumerate(lines) if "failed_submodels" in line] == [2, 35]
    assert lines[2]["failed_submodels"] == lines[35]["failed_submodels"] == [0]
    assert [line["file"] for line in lines] == [f"{tmp_path}/x.npz[{i}]" for i in range(40)]


WRONG_CALLS = [
    (["run", "BUNDLE"], "Missing argument 'FILES...'"),
    (
        ["run", "BUNDLE", "x.png", "--rule", "geometric", "--threshold", "0.5"],
        "the rule geometric has no threshold",
    ),
    (["run", "BUNDLE", "x.png", "--threshold", "2.5"], "expected threshold, a number in [0, 2], got 2.5"),
    (
        ["run", "BUNDLE", "x.png", "--rule", "agreement", "--threshold", "9"],
        "a whole number of votes from 1 to 3, got 9",
    ),
    (["run", "BUNDLE", "x.png", "--max-submodels", "0"], "'--max-submodels'"),
    (["run", "BUNDLE", "x.png", "--deadline-ms", "-1"], "'--deadline-ms'"),
    (["run", "BUNDLE", "x.png", "--rule", "vote"], "'vote' is not one of"),
    (["bench", "BUNDLE", "--repeats", "0"], "'--repeats'"),
    (
        ["bench", "BUNDLE", "--tune", "--threads", "2"],
        "--tune tries --threads, --spinning and --arena itself",
    ),
    (["bench", "BUNDLE", "--run", "nowhere"], "nowhere is not a folder"),
    (["fly"], "No such command 'fly'"),
    (["check"], "Missing argument 'BUNDLE'"),
]


@pytest.mark.parametrize(("words", "message"), WRONG_CALLS)
def test_a_wrong_call_exits_with_2_and_says_what_is_wrong(tiny, words, message):
    result = call(*[tiny.folder if word == "BUNDLE" else word for word in words])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.endswith(" --help tells what is expected\n")
    assert result.stderr.count("\n") == 1


def test_check_says_what_was_verified(tiny):
    result = call("check", tiny.folder)
    assert result.exit_code == 0
    assert "ok  tiny: 3 sub-models, 5 files" in result.stdout
    assert "20 golden images answered as recorded" in result.stdout


def test_check_of_a_damaged_bundle_exits_with_1_and_one_line(tiny):
    for path in tiny.folder.iterdir():
        content = path.read_bytes()
        path.write_bytes(content[:50] + bytes([content[50] ^ 4]) + content[51:])
        result = call("check", tiny.folder)
        assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
        assert result.stderr.startswith("error: ")
        path.write_bytes(content)


@pytest.mark.parametrize("command", ["check", "bench"])
def test_a_single_file_where_a_folder_is_needed_is_one_line(tiny, command):
    result = call(command, tiny.folder / "submodel-0.onnx")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "submodel-0.onnx; name the folder with its manifest.json" in result.stderr


def test_a_deadline_at_export_that_is_no_number_is_refused_before_anything_is_read():
    result = call("export", "no-run", "bundle", "--deadline-ms", "nan")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "expected a number, got nan" in result.stderr


ERRORS = [
    (BundleError("it is\nbroken"), 1, "error: it is broken"),
    (StorageError("cannot write x"), 1, "error: cannot write x"),
    (
        OSError(28, "No space left on device", "/x/y"),
        1,
        "error: the system refused /x/y: No space left on device",
    ),
    (MemoryError(), 1, "error: out of memory"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (RuntimeError("odd\nthing"), 1, "error: unexpected RuntimeError: odd thing; run again with --debug"),
]


@pytest.fixture
def broken_check(monkeypatch):
    """Makes ``eed-edge check`` raise an error."""

    def raise_in_check(error):
        def body(**_):
            raise error

        monkeypatch.setattr(cli.importlib.import_module("eed_edge.cli.use.check").command, "callback", body)

    return raise_in_check


@pytest.mark.parametrize(("error", "code", "text"), ERRORS)
def test_every_failure_is_one_line_and_an_exit_code(broken_check, error, code, text):
    broken_check(error)
    result = call("check", "x")
    assert result.exit_code == code
    assert result.stderr.strip().startswith(text)
    assert len(result.stderr.strip().splitlines()) == 1  # behind ^C click starts a new line


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["--debug", "check", "x"], {}),
        (["check", "x", "--debug"], {}),
        (["check", "x"], {"EED_EDGE_DEBUG": "1"}),
    ],
)
def test_debug_shows_the_error_itself(broken_check, words, env):
    broken_check(RuntimeError("odd"))
    assert isinstance(call(*words, env=env).exception, RuntimeError)


def test_debug_behind_two_dashes_is_a_file(broken_check):
    broken_check(RuntimeError("odd"))
    assert call("check", "--", "--debug").exit_code == 1


def test_help_lists_every_command_that_is_there_and_each_has_its_own():
    result = call("--help")
    listed = main.list_commands(click.Context(main))
    assert {"check", "run", "bench"} <= set(listed) <= set(cli.COMMANDS)
    assert result.exit_code == 0
    for name in listed:
        assert name in result.stdout
    assert call("--version").stdout == f"eed-edge, version {eed_edge.__version__}\n"


def test_help_and_a_wrong_call_import_no_numpy():
    code = (
        "import sys; from eed_edge.cli import main\n"
        "try: main({!r})\n"
        "except SystemExit: print('numpy' in sys.modules)"
    )
    for words in (["--help"], ["run", "--help"], ["check"]):
        result = subprocess.run(
            [sys.executable, "-c", code.format(words)], capture_output=True, text=True, check=True
        )
        assert result.stdout.splitlines()[-1] == "False"


def test_python_m_eed_edge_is_the_command():
    started = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-m", "eed_edge", "check", "nowhere"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert (
        result.stderr
        == "error: expected a bundle folder, cannot open nowhere: No such file or directory; check the path\n"
    )
    assert time.perf_counter() - started < 10
