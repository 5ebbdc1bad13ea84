"""Pictures and NPZ files made to exhaust or deceive are refused by name, within bounds, and stop no other."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eed_edge.errors import InputError
from eed_edge.images.npz import read_npz
from eed_edge.images.preprocess import open_picture, read_picture
from eed_edge.manifest import InputSpec, Preprocess
from tests.hostile import npz_files, pictures
from tests.hostile.npz_files import HOSTILE_NPZ
from tests.hostile.pictures import HOSTILE_PICTURES
from tests.runtime.test_command_line import call

ROOT = Path(__file__).parents[2]
MEASURE = """
import json, re, sys, time
from pathlib import Path
from eed_edge.errors import InputError
from eed_edge.images.npz import read_npz
from eed_edge.images.preprocess import open_picture
from eed_edge.manifest import InputSpec, Preprocess
import PIL.Image
PIL.Image.init()
size = (224, 224)
spec = InputSpec(name="images", shape=("N", 3, *size), channels="RGB", preprocess=Preprocess(resize=size))
def memory(key):
    return int(re.search(key + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
for path in map(Path, json.load(sys.stdin)):
    Path("/proc/self/clear_refs").write_text("5")
    before, start = memory("VmRSS"), time.process_time()
    try:
        read_npz(path) if path.suffix == ".npz" else open_picture(path, spec)
        refused = False
    except InputError:
        refused = True
    print(json.dumps([refused, memory("VmHWM") - before, time.process_time() - start]))
"""


def resources(paths):
    """Whether each file is refused, MiB above the memory before it, and seconds of CPU."""
    asked = json.dumps(list(map(str, paths)))
    result = subprocess.run(
        [sys.executable, "-c", MEASURE], input=asked, capture_output=True, text=True, cwd=ROOT, check=True
    )
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="asks Linux for the peak of memory")
def test_every_hostile_file_is_refused_within_a_second_and_50_mib(tmp_path):
    makers = [make for make in (*HOSTILE_PICTURES, *HOSTILE_NPZ) if "other" not in make.__name__]
    paths = []
    for i, make in enumerate(makers):
        (tmp_path / str(i)).mkdir()
        paths.append(make(tmp_path / str(i)))
    for make, path, (refused, mib, seconds) in zip(makers, paths, resources(paths), strict=True):
        size = path.stat().st_size / 2**20 if path.is_file() else 0
        assert refused, make.__doc__
        assert mib < size + 50, (make.__doc__, mib)
        assert seconds < 1, (make.__doc__, seconds)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="asks Linux for the peak of memory")
def test_a_photograph_of_48_megapixels_is_read_in_a_fraction_of_its_size(tmp_path):
    for path in (pictures.large_photograph(tmp_path), pictures.endless_png(tmp_path)):
        [(refused, mib, _)] = resources([path])
        assert not refused
        assert mib < 60  # 8000 * 6000 * 3 bytes are 137 MiB


def test_one_call_answers_the_good_files_and_names_every_hostile_one(tiny, tmp_path):
    good = pictures.small_picture(tmp_path, "good.png")
    np.savez(tmp_path / "good.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    paths = []
    for i, make in enumerate((*HOSTILE_PICTURES, *HOSTILE_NPZ)):
        (tmp_path / str(i)).mkdir()
        paths.append(make(tmp_path / str(i)))
    words = [word for path in paths for word in (good, path)]
    result = call("run", tiny.folder, "--json", *words, tmp_path / "good.npz")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == len(paths) + 2
    assert "unexpected" not in result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == len(paths)
    for path, line in zip(paths, lines, strict=True):
        name = str(path).encode("unicode_escape", "surrogatepass").decode()
        assert line.startswith(f"error: {name}"), line
    assert not list(tmp_path.rglob("sprung"))


def test_an_npz_error_names_file_and_image(tiny, tmp_path):
    path = npz_files.other_size(tmp_path)
    result = call("run", tiny.folder, path)
    assert re.search(rf"error: {re.escape(str(path))}\[0\]: expected a picture of 4x4 pixels", result.stderr)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_reduced_photograph_is_almost_the_full_one(tmp_path, monkeypatch, orientation):
    from eed_edge.images import preprocess

    rows, columns = np.mgrid[:600, :800]
    smooth = np.stack([rows / 600, columns / 800, (rows + columns) / 1400], 2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray((255 * smooth).astype(np.uint8)).save(tmp_path / "a.jpg", quality=95, exif=exif)
    steps = Preprocess(resize=(40, 50))
    spec = InputSpec(name="images", shape=("N", 3, 40, 50), channels="RGB", preprocess=steps)
    full = open_picture(tmp_path / "a.jpg", spec)
    monkeypatch.setattr(preprocess, "MAX_DECODED_PIXELS", 200 * 200)
    assert read_picture(tmp_path / "a.jpg", resized_to=(40, 50)).size < full.size * 20
    assert np.abs(open_picture(tmp_path / "a.jpg", spec) - full).max() < 0.02
    with pytest.raises(InputError, match="expected at most 40,000 pixels unless"):
        read_picture(tmp_path / "a.jpg")  # nobody scales it down


def test_links_to_regular_files_are_read(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.ones((2, 4, 4, 3), np.uint8))
    os.symlink(tmp_path / "a.npz", tmp_path / "b.npz")
    assert read_npz(tmp_path / "b.npz")[0].sum() == 96
