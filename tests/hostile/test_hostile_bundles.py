"""Every hostile bundle is refused: one line, under a second, little memory; the good one is accepted."""

import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import eed_edge
from eed_edge.errors import EedError
from eed_edge.runtime.bundle.golden_answers import check_bundle
from tests.hostile.hostile_bundles import HOSTILE_BUNDLES, SEEN_BY_CHECK
from tests.hostile.hostile_graphs import with_nodes

ROOT = Path(__file__).parents[2]
GOOD = ROOT / "tests" / "formats" / "version-0.1" / "bundle"
MEMORY = (
    "graph: Tile",
    "graph: 300,000 nodes",
    "file: a large model before a bad one",
    "golden: 256 MiB of zeros",
    "manifest: one key many times",
)
SEEN_BY_LOAD = [name for name in HOSTILE_BUNDLES if name not in SEEN_BY_CHECK]


@pytest.fixture
def hostile(request, tmp_path):
    HOSTILE_BUNDLES[request.param](GOOD, tmp_path / "bundle")
    yield tmp_path / "bundle"
    shutil.rmtree(tmp_path / "bundle")


@contextmanager
def untraced():
    """Without a tracer, such as that of coverage, which doubles the time of parsing."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


def refused(call, folder):
    """Return the error of a call, after checking its form and what it took."""
    started = time.process_time()
    with untraced(), pytest.raises(EedError) as caught:
        call(folder)
    assert time.process_time() - started < 1
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 1000
    assert "unexpected" not in message
    return message


@pytest.mark.parametrize("hostile", HOSTILE_BUNDLES, indirect=True)
def test_check_refuses_it_in_one_line_and_in_a_second(hostile):
    refused(check_bundle, hostile)


@pytest.mark.parametrize("hostile", SEEN_BY_LOAD, indirect=True)
def test_load_refuses_it_too(hostile):
    refused(eed_edge.load, hostile)


@pytest.mark.parametrize(
    "hostile", ["cascade: negated", "cascade: a single member", "dense: negated"], indirect=True
)
def test_a_model_that_answers_otherwise_is_loaded_unless_golden_answers_are_asked_for(hostile):
    eed_edge.load(hostile)
    refused(lambda folder: eed_edge.load(folder, verify="golden"), hostile)


MEASURE = """
import sys
import eed_edge, onnxruntime, numpy, eed_edge.runtime.loading
from eed_edge.errors import EedError
from eed_edge.runtime.measure.timing import peak_rss_mib
before = peak_rss_mib()
try:
    eed_edge.load(sys.argv[1], verify="golden")
except EedError:
    print(peak_rss_mib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is there on Linux alone")
@pytest.mark.parametrize("hostile", MEMORY, indirect=True)
def test_refusing_it_takes_no_more_memory_than_its_files_and_50_mib(hostile):
    answer = subprocess.check_output([sys.executable, "-c", MEASURE, str(hostile)], cwd=ROOT, text=True)
    assert float(answer) * 2**20 < 50 * 2**20 + sum(path.stat().st_size for path in hostile.iterdir())


def test_the_bundle_that_they_were_made_from_passes_all_checks(tmp_path):
    check_bundle(GOOD)
    eed_edge.load(GOOD, verify="golden")
    with_nodes()(GOOD, tmp_path / "bundle")  # another model, but one that may be loaded
    eed_edge.load(tmp_path / "bundle")
    with pytest.raises(EedError, match=r"golden.npz: \d+ of 16 answers differ"):
        check_bundle(tmp_path / "bundle")


def test_loading_from_python_leaves_nothing_in_the_home_folder(tmp_path):
    code = "import sys, eed_edge; eed_edge.load(sys.argv[1])"
    home = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": ""}
    subprocess.run([sys.executable, "-c", code, str(GOOD)], env=home, check=True, cwd=ROOT)
    assert not list(tmp_path.rglob("*"))
