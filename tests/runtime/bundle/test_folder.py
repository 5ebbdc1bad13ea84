import math
import os
import shutil
import sys

import numpy as np
import onnxruntime
import pytest

import eed_edge
from eed_edge.errors import BundleError, DeviceError, InputError
from eed_edge.runtime.bundle import folder as module
from eed_edge.runtime.bundle.folder import open_bundle
from eed_edge.runtime.bundle.single_file import load_single_file
from eed_edge.runtime.gates.replay import replay_rule


@pytest.mark.parametrize("rule", ["confidence", "agreement", "geometric"])
def test_a_loaded_bundle_answers_as_numpy_does(make_tiny, rule):
    tiny = make_tiny(rule=rule)
    net = eed_edge.load(tiny.folder)
    expected = replay_rule(tiny.probs, rule, tiny.manifest.gate.parameters_of(rule))
    prediction = net(tiny.images)
    assert net.manifest == tiny.manifest
    assert np.allclose(prediction.probs, expected.probs, atol=1e-6)
    for name in ("labels", "submodels_used", "answer_prefix"):
        assert np.array_equal(getattr(prediction, name), getattr(expected, name))
    assert 1 < prediction.submodels_used.mean() < 3


def test_settings_take_the_place_of_the_manifests(make_tiny):
    tiny = make_tiny(max_submodels=2, deadline_ms=1e6)
    assert set(eed_edge.load(tiny.folder, threshold=2)(tiny.images).submodels_used) == {2}
    net = eed_edge.load(
        str(tiny.folder), rule="agreement", threshold=3, max_submodels=9, deadline_ms=math.inf
    )
    assert (net.rule, net.parameters, net.max_submodels, net.deadline_ms) == (
        "agreement",
        {"votes": 3},
        3,
        None,
    )
    assert eed_edge.load(tiny.folder).deadline_ms == 1e6
    assert set(eed_edge.load(tiny.folder, threshold=0)(tiny.images).submodels_used) == {1}


BAD_SETTINGS = [
    ({"rule": "vote"}, "expected a rule out of confidence, agreement, geometric.*, got 'vote'"),
    ({"rule": "geometric", "threshold": 0.5}, "the rule geometric has no threshold"),
    ({"rule": 5}, "expected a rule out of confidence, agreement, geometric.*, got 5"),
    ({"rule": ["confidence"]}, r"expected a rule out of .*, got \['confidence'\]"),
    *(
        ({"threshold": value}, r"expected threshold, a number in \[0, 2\], got ")
        for value in (2.1, -0.1, math.nan, "0.5", True, [1], np.zeros((9, 9)))
    ),
    *(
        ({"rule": "agreement", "threshold": value}, "expected threshold, a whole number of votes from 1 to 3")
        for value in (1.5, 4, 0, math.nan, "2", True)
    ),
    *(
        ({"max_submodels": value}, "expected max_submodels, a whole number from 1 on, got ")
        for value in (0, -1, 2.5, math.nan, "2", True, [2])
    ),
    *(
        ({"deadline_ms": value}, "expected deadline_ms, a number >= 0, got .*; infinity means none")
        for value in (-1, math.nan, -math.inf, 10**400, "5", True, [5])
    ),
]


@pytest.mark.parametrize(("settings", "message"), BAD_SETTINGS)
def test_settings_of_another_type_or_out_of_range_are_one_line(tiny, settings, message):
    with pytest.raises(InputError, match=message) as caught:
        eed_edge.load(tiny.folder, **settings)
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_numbers(tiny):
    value = {"threshold": np.float32(0.5), "max_submodels": np.int64(2), "deadline_ms": np.float64(5)}
    net = eed_edge.load(tiny.folder, **value, threads=np.int32(2), arena=np.bool_(True))
    assert (net.parameters, net.max_submodels, net.deadline_ms) == ({"threshold": 0.5}, 2, 5)


@pytest.mark.parametrize("value", [5, None, True, b"bundle", ["bundle"], "bun\0dle"])
@pytest.mark.parametrize("open_it", [eed_edge.load, open_bundle, load_single_file])
def test_what_is_no_path_is_refused(open_it, value):
    with pytest.raises(InputError, match=r"expected a path .*, got .*; "):
        open_it(value)


@pytest.mark.parametrize("name", ["cascade.onnx", "submodel-0.onnx"])
def test_a_file_where_a_folder_is_needed_says_what_to_do(tiny, name):
    (tiny.folder / name).touch()
    with pytest.raises(BundleError, match=rf"got the file .*{name}; name the folder with its manifest\.json"):
        open_bundle(tiny.folder / name)


def test_a_provider_that_is_not_there_is_refused_by_load(tiny):
    with pytest.raises(DeviceError, match=r"expected a provider out of .*, got 'NoSuchProvider'; name one"):
        eed_edge.load(tiny.folder, providers=["NoSuchProvider", "CPUExecutionProvider"])


def test_an_onnxruntime_too_old_is_refused_by_load(tiny, monkeypatch):
    monkeypatch.setattr(onnxruntime, "__version__", "1.19.0")
    with pytest.raises(DeviceError, match=r"expected onnxruntime >= 1\.20, got 1\.19\.0; run: pip install"):
        eed_edge.load(tiny.folder)


@pytest.mark.parametrize("arena", [False, True])
def test_threads_spinning_and_arena_reach_every_session(tiny, arena):
    for submodel in eed_edge.load(tiny.folder, threads=2, spinning=True, arena=arena).submodels:
        options = submodel.session.get_session_options()
        assert (options.intra_op_num_threads, options.enable_cpu_mem_arena) == (2, arena)
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"


def test_any_flipped_byte_of_any_file_is_found(tiny):
    rng = np.random.default_rng(0)
    for path in sorted(tiny.folder.iterdir()):
        content = path.read_bytes()
        for place in [0, *rng.integers(0, len(content), 40), len(content) - 1]:
            flipped = bytearray(content)
            flipped[place] ^= 1 << rng.integers(8)
            path.write_bytes(flipped)
            with pytest.raises(BundleError):
                eed_edge.load(tiny.folder)
        path.write_bytes(content)
    eed_edge.load(tiny.folder)


def remove(folder):
    (folder / "submodel-1.onnx").unlink()


def add(folder):
    (folder / "notes.txt").write_text("hello")


def cut(folder):
    (folder / "submodel-1.onnx").write_bytes((folder / "submodel-1.onnx").read_bytes()[:-1])


def damage(folder):
    (folder / "submodel-1.onnx").write_bytes(b"x" * (folder / "submodel-1.onnx").stat().st_size)


def damage_golden(folder):
    (folder / "golden.npz").write_bytes(b"x" * (folder / "golden.npz").stat().st_size)


def broken_link(folder):
    (folder / "submodel-1.onnx").unlink()
    (folder / "submodel-1.onnx").symlink_to(folder.parent / "nowhere")


def link_to_another_file(folder):
    target = folder.parent / "elsewhere.onnx"
    target.write_bytes(b"x" * (folder / "submodel-1.onnx").stat().st_size)
    (folder / "submodel-1.onnx").unlink()
    (folder / "submodel-1.onnx").symlink_to(target)


def add_folder(folder):
    (folder / "more").mkdir()


def make_pipe(folder):
    (folder / "submodel-1.onnx").unlink()
    os.mkfifo(folder / "submodel-1.onnx")


def lose_manifest(folder):
    (folder / "manifest.json").unlink()


def grow_manifest(folder):
    (folder / "manifest.json").write_bytes(b" " * (5 * 2**20))


DAMAGES = {
    remove: "lacks submodel-1.onnx, which its manifest names",
    add: "has 'notes.txt', which its manifest does not name; remove it",
    cut: r"submodel-1.onnx: expected \d+ bytes, got \d+",
    damage: "submodel-1.onnx: expected SHA-256 .* got .*; copy the bundle again",
    damage_golden: "golden.npz: expected SHA-256",
    broken_link: "expected files only, 'submodel-1.onnx' is neither a file nor a link to one",
    link_to_another_file: "submodel-1.onnx: expected SHA-256",
    add_folder: "'more' is neither a file nor",
    make_pipe: "'submodel-1.onnx' is neither a file nor",
    lose_manifest: "has no manifest.json",
    grow_manifest: "manifest.json: expected at most 1048576 bytes",
}


@pytest.mark.parametrize("hurt", DAMAGES)
def test_a_bundle_that_is_not_as_its_manifest_says_is_refused(tiny, hurt):
    hurt(tiny.folder)
    with pytest.raises(BundleError, match=DAMAGES[hurt]):
        eed_edge.load(tiny.folder)


def test_the_folder_may_be_reached_by_a_link_and_files_may_have_hard_links(tiny, tmp_path):
    (tmp_path / "link").symlink_to(tiny.folder)
    os.link(tiny.folder / "submodel-0.onnx", tmp_path / "second-name.onnx")
    assert eed_edge.load(tmp_path / "link")(tiny.images).complete


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "expected a bundle folder, cannot open .*; check the path"),
        ("file", "or a cascade.onnx, got the file .*; name one of these"),
    ],
)
def test_what_is_no_folder_is_no_bundle(tmp_path, name, message):
    (tmp_path / "file").write_text("hello")
    with pytest.raises(BundleError, match=message):
        eed_edge.load(tmp_path / name)


def test_a_file_exchanged_after_the_listing_for_a_pipe_or_a_link_to_another_is_refused(tiny):
    bundle = open_bundle(tiny.folder)
    make_pipe(tiny.folder)
    with pytest.raises(
        BundleError, match=r"submodel-1.onnx: cannot be opened: expected a regular file, got a pipe"
    ):
        bundle.read("submodel-1.onnx")
    (tiny.folder / "submodel-1.onnx").unlink()
    (tiny.folder / "submodel-1.onnx").symlink_to(tiny.folder / "submodel-0.onnx")
    with pytest.raises(BundleError, match=r"submodel-1.onnx: expected (SHA-256|\d+ bytes)"):
        bundle.read("submodel-1.onnx")


def as_a_model_hub(folder):
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    for i, path in enumerate(sorted(folder.iterdir())):
        shutil.move(path, blobs / f"{i}")
        path.symlink_to(f"../blobs/{i}")


def as_kubernetes(folder):
    data = folder / "..2026_01_01"
    data.mkdir()
    (folder / "..data").symlink_to(data.name)
    for path in sorted(folder.iterdir()):
        if path.is_file():
            shutil.move(path, data / path.name)
            path.symlink_to(f"..data/{path.name}")


def as_a_desktop(folder):
    (folder / ".DS_Store").write_bytes(b"Bud1")
    (folder / "Thumbs.db").touch()
    (folder / "._manifest.json").touch()
    (folder / "__MACOSX").mkdir()


def as_a_clone_from_a_hub(folder):
    for name in ("README.md", "LICENSE", ".gitattributes"):
        (folder / name).write_text("of the hub")
    for name in (".git", ".cache"):
        (folder / name).mkdir()


@pytest.mark.parametrize("lay", [as_a_model_hub, as_kubernetes, as_a_desktop, as_a_clone_from_a_hub])
def test_folders_as_others_lay_them_are_loaded(tiny, lay, caplog):
    lay(tiny.folder)
    assert eed_edge.load(tiny.folder)(tiny.images).complete
    assert ("'.DS_Store', which a desktop leaves" in caplog.text) is (lay is as_a_desktop)


def test_a_model_that_is_refused_is_never_given_to_onnxruntime(make_tiny, monkeypatch):
    tiny = make_tiny(models={2: b"no model"})
    monkeypatch.setattr(module, "open_session", lambda *_, **__: pytest.fail("a session was made"))
    with pytest.raises(BundleError, match=r"submodel-2.onnx: .*; export the bundle again"):
        eed_edge.load(tiny.folder)


def test_loading_keeps_no_second_copy_of_the_models(tiny):
    net = eed_edge.load(tiny.folder)
    assert all(submodel.session._model_bytes is None for submodel in net.submodels)


def test_a_loaded_bundle_outlives_its_folder(tiny):
    net = eed_edge.load(tiny.folder)
    shutil.rmtree(tiny.folder)
    assert len(net(tiny.images).labels) == 20


@pytest.mark.skipif(sys.platform == "win32", reason="the system has no such rights")
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_the_right_to_read_is_refused(tiny):
    (tiny.folder / "golden.npz").chmod(0)
    with pytest.raises(BundleError, match=r"golden.npz: cannot be opened: Permission denied"):
        eed_edge.load(tiny.folder)
