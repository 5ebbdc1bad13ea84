"""A bundle on a model hub is fetched over HTTP by huggingface_hub, pinned, verified and kept for later."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import eed_edge
from eed_edge.errors import DeviceError, InputError
from tests.runtime.bundle.model_hub import COMMIT, model_hub

NAME = "somebody/tiny"


@pytest.fixture
def hub(tiny, tmp_path):
    """The tiny bundle with a hub's own files on a hub, and how to call the command line there."""
    pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    folder = tmp_path / "uploaded"
    shutil.copytree(tiny.folder, folder)
    for name in ("README.md", ".gitattributes", "LICENSE"):
        (folder / name).write_text("of the hub")
    with model_hub(NAME, folder) as (address, asked):
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home")}

        def call(*words, **more):
            command = [sys.executable, "-m", "eed_edge", *map(str, words)]
            environment_here = {**environment, **more}
            return subprocess.run(command, env=environment_here, capture_output=True, text=True, check=False)

        yield folder, asked, call


def test_a_bundle_on_a_hub_is_fetched_verified_and_kept_for_when_the_hub_is_away(hub, tiny, tmp_path):
    folder, asked, call = hub
    np.savez(tmp_path / "pictures.npz", images=np.full((1, *tiny.images.shape[2:], 3), 128, np.uint8))
    there = call("run", f"hf:{NAME}@v1", tmp_path / "pictures.npz", "--json")
    here = call("run", folder, tmp_path / "pictures.npz", "--json")
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout) == json.loads(here.stdout)
    assert f"GET /{NAME}/resolve/v1/submodel-0.onnx" in asked
    assert not any("README.md" in path for path in asked)
    shutil.rmtree(folder)
    away = call("check", f"hf:{NAME}@v1", HF_HUB_OFFLINE="1")
    assert (away.returncode, away.stderr.count("\n")) == (0, 1)
    assert "its cached files are used" in away.stderr
    assert "golden images answered as recorded" in away.stdout


def test_files_that_are_not_those_of_the_manifest_are_refused_in_one_line(hub):
    folder, asked, call = hub
    model = folder / "submodel-0.onnx"
    data = model.read_bytes()
    model.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused = call("check", f"hf:{NAME}@{COMMIT}")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert "submodel-0.onnx: expected SHA-256" in refused.stderr
    asked.clear()
    model.write_bytes(data + b"more")
    refused = call("check", f"hf:{NAME}")
    assert refused.stderr.count("\n") == 1
    assert f"expected submodel-0.onnx of {len(data)} bytes on the hub, got {len(data) + 4}" in refused.stderr
    assert not any("submodel-0" in path for path in asked)


@pytest.mark.parametrize(
    ("name", "expected"), [("somebody/else", "Repository Not Found"), (f"{NAME}@v2", "Revision Not Found")]
)
def test_what_the_hub_has_not_is_one_line(hub, name, expected):
    _, _, call = hub
    refused = call("check", f"hf:{name}")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert f"hf:{name}: expected a bundle on the hub, got: 404" in refused.stderr
    assert expected in refused.stderr


def test_without_huggingface_hub_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DeviceError, match=r"expected huggingface_hub.*pip install '\.\[hub\]'"):
        eed_edge.load(f"hf:{NAME}")


def test_a_name_that_is_none_is_refused_and_a_folder_of_such_a_name_is_not(tiny, monkeypatch):
    with pytest.raises(InputError, match=r"expected hf:OWNER/NAME or .*, got 'hf:tiny'; write ./hf:"):
        eed_edge.load("hf:tiny")
    monkeypatch.chdir(tiny.folder.parent)
    tiny.folder.rename("hf:tiny")
    assert eed_edge.load(Path("hf:tiny").absolute())(tiny.images).complete
