"""The folder of the page: all of it, made from the bundle and the run, and nothing that names could reach."""

import json
import re
from importlib import resources

import numpy as np
import onnxruntime
import pytest

import eed_edge
from eed_edge.errors import CheckpointError, InputError
from eed_edge.web.page_site import PAGE_TYPES, build_site, write_site
from tests.formats.stored import STORED
from tests.runtime.conftest import softmax
from tests.web.page_bundles import HOSTILE, bundle_answering, bundle_of_large_pictures

ENGINE = {"ort.js": b"engine", "ort-wasm.js": b"glue", "ort-wasm.wasm": b"\0asm"}
PAGE = resources.files("eed_edge.web").joinpath("page")
SOURCES = [file for file in PAGE.iterdir() if file.name.endswith((".html", ".css", ".js"))]


@pytest.fixture(scope="module")
def site():
    return build_site(STORED / "bundle", STORED / "run", ENGINE)


@pytest.fixture(scope="module")
def evaluation():
    with np.load(STORED / "run" / "evaluation.npz") as arrays:
        return dict(arrays)


def page(site):
    return json.loads(site["page.json"])


def test_the_folder_is_written_whole_and_an_older_page_is_replaced(site, tmp_path):
    folder, listed = tmp_path / "page", page(site)
    with_list = {"left.txt": b"", "page.json": json.dumps({**listed, "folder": ["left.txt"]}).encode()}
    without_list = {"submodel-7.onnx": b"", "page.json": b"{}"}
    for older in (with_list, without_list):
        write_site({**site, **older}, folder)
        write_site(site, folder)
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
        assert files == site
    named = {
        *page(site)["open"]["files"],
        *page(site)["open"]["engine"].values(),
        "dense.onnx",
        "samples.bin",
    }
    assert named <= files.keys()


def test_every_file_has_a_known_kind_and_every_module_that_is_imported_is_there(site):
    assert {f".{name.rpartition('.')[2]}" for name in site} <= PAGE_TYPES.keys()
    for file in SOURCES:
        imported = re.findall(
            r'(?:from |import |href=|src=|URL\()"\.?/?([\w.-]+\.(?:js|css))"', file.read_text()
        )
        assert set(imported) <= site.keys(), file.name


def test_a_file_beside_an_older_page_is_not_lost(site, tmp_path):
    write_site(site, tmp_path / "page")
    (tmp_path / "page" / "CNAME").write_text("example.org")
    with pytest.raises(InputError, match="has other files, such as CNAME; name another"):
        write_site(site, tmp_path / "page")
    assert (tmp_path / "page" / "CNAME").read_text() == "example.org"


def test_a_folder_with_other_files_and_a_file_are_not_overwritten(site, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"expected a new folder or an older page, .* has other files"):
        write_site(site, tmp_path)
    with pytest.raises(InputError, match=r"expected a folder to write, .* is a file"):
        write_site(site, tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_the_page_has_the_manifest_as_it_is(site):
    assert site["manifest.json"] == (STORED / "bundle" / "manifest.json").read_bytes()


def test_models_of_the_page_answer_as_the_bundle_does(site, evaluation):
    net = eed_edge.load(STORED / "bundle")
    images = evaluation["images"].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    for expected, name in zip(net.member_probs(images), page(site)["open"]["files"], strict=True):
        session = onnxruntime.InferenceSession(site[name], providers=["CPUExecutionProvider"])
        logits = session.run(None, {net.manifest.input.name: images})[0]
        np.testing.assert_allclose(softmax(logits), expected, atol=1e-6)


def test_the_samples_are_the_run_s_test_images_and_stored_attacks(site, evaluation):
    samples = page(site)["samples"]
    values = np.frombuffer(site["samples.bin"], "<f4").reshape(-1, 1, 8, 8)
    count, attacked = len(samples["images"]["labels"]), len(samples["attacked"]["labels"])
    images, clean, added = np.split(values, [count, count + attacked])
    known = {
        (image.tobytes(), label)
        for image, label in zip(evaluation["images"], evaluation["labels"], strict=True)
    }
    shown = np.rint(images[:, 0, :, :, None] * 255).astype(np.uint8)
    assert {
        (i.tobytes(), label) for i, label in zip(shown, samples["images"]["labels"], strict=True)
    } == known
    changed = (evaluation["strip_clean"] != evaluation["strip_attacked"]).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(clean[:, 0], evaluation["strip_clean"][changed, :, :, 0])
    np.testing.assert_array_equal(added[:, 0], evaluation["strip_attacked"][changed, :, :, 0])
    assert samples["attacked"]["labels"] == evaluation["strip_labels"][changed].tolist()


def test_without_a_run_the_golden_images_are_shown_without_a_truth(tmp_path):
    bundle = bundle_answering(tmp_path / "bundle")
    site = build_site(bundle, None, ENGINE)
    with np.load(bundle / "golden.npz") as golden:
        assert site["samples.bin"] == golden["images"].tobytes()
        assert page(site)["samples"]["images"]["labels"] == [None] * len(golden["images"])
    assert page(site)["dense"] is None


def test_a_run_that_it_was_not_exported_from_is_refused(tmp_path):
    bundle = bundle_answering(tmp_path / "bundle")
    with pytest.raises(CheckpointError, match="was not exported from"):
        build_site(bundle, STORED / "run", ENGINE)


def test_names_of_a_bundle_are_data_alone(tmp_path):
    site = build_site(bundle_of_large_pictures(tmp_path / "bundle"), None, ENGINE)
    assert json.loads(site["manifest.json"])["classes"] == list(HOSTILE)
    assert site["index.html"] == PAGE.joinpath("index.html").read_bytes()
    assert page(site)["drawing"] is None


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.name)
def test_no_source_turns_text_into_markup_or_code_or_names_a_place_elsewhere(file):
    text = file.read_text().replace("http://www.w3.org/2000/svg", "")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|Function\(|https?:|style="
    assert re.findall(forbidden, text) == []
