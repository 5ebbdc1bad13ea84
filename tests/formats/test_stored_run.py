"""A run folder of version 0.1 opens; what was under way in it goes on and ends as it did then."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import call
from tests.formats.stored import DATA, STORED, assert_same_tensors, content, grown, keys, record

EPOCH = ["epoch", "epochs", "attack", "loss", "lr", "images", "clean", "attacked", "images_s", "seconds"]
HISTORY = {f"history[].{name}" for name in EPOCH if name not in ("images_s", "seconds")}
SUMMARY = {
    f"training.{which}.{name}" for which in ("best", "last") for name in ("epoch", "clean", "attacked")
}
ARCHITECTURE = {f"architecture.{name}" for name in ("arch", "classes", "channels", "width")}
TRAINED = {"format", "history[]", "training.gap"} | HISTORY | SUMMARY | ARCHITECTURE
PRUNED = {f"pruning.{name}" for name in ("importance", "subset", "params", "macs", "images")}
PRUNED |= {f"pruning.{name}.body.{layer}" for name in ("kept", "widths") for layer in (0, 3, 6)}
UNDER_WAY = {"format", "epoch", "step", "attack", "history[]"} | HISTORY
RECORDS = {
    "base.safetensors": TRAINED,
    "base-last.safetensors": TRAINED,
    "pool/erm-0.safetensors": TRAINED | PRUNED,
    "pool/erm-0-last.safetensors": TRAINED | PRUNED,
    "joint/member-0.safetensors": {"format", "candidate"} | ARCHITECTURE | PRUNED,
    "joint/last.safetensors": {"format", "members[]"},
    "narrow.safetensors": TRAINED,
    "../under-way/base/base.state": UNDER_WAY,
    "../under-way/pool/pool/erm-0.state": UNDER_WAY,
    "../under-way/pool/pool/erm-0.pruned": {"format"} | ARCHITECTURE | PRUNED,
    "../under-way/joint/joint.state": UNDER_WAY,
    "../under-way/narrow/narrow.state": UNDER_WAY,
}
# What is not there yet while a stage is under way.
LATER = {
    "base": ["*.json", "*.npz", "*.onnx", "*.safetensors", "pool", "joint"],
    "pool": ["pool/erm-0*", "selection.json", "joint*"],
    "joint": ["selection.json", "joint*"],
    "narrow": ["narrow.safetensors", "narrow.onnx"],
}
ENDS = {
    "base": ["base.safetensors", "base-last.safetensors"],
    "pool": ["pool/erm-0.safetensors", "pool/erm-0-last.safetensors"],
    "joint": ["joint/member-0.safetensors", "joint/last.safetensors"],
    "narrow": ["narrow.safetensors"],
}
JSON_FILES = {
    "base": ["run.json"],
    "pool": [],
    "joint": ["selection.json", "joint.json"],
    "narrow": ["narrow.json"],
}


@pytest.mark.parametrize("name", RECORDS)
def test_the_record_of_a_stored_file_has_these_keys(name):
    assert keys(record(STORED / "run" / name)) == RECORDS[name]


def go_on(run: Path, stage: str) -> list[dict]:
    """Let the stage that was interrupted in the stored run go on; the lines of its log."""
    for pattern in LATER[stage]:
        for path in run.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(STORED / "under-way" / stage, run, dirs_exist_ok=True)
    if stage == "narrow":
        result = call("narrow", run, STORED / "bundle", "--data", DATA)
    else:
        result = call("train", STORED / "recipe.toml", "--data", DATA, "--run", run, "--until", stage)
    assert result.exit_code == 0, result.stderr
    assert not [*run.rglob("*.state"), *run.rglob("*.pruned")]
    return content(run / "log.jsonl")


@pytest.mark.parametrize(("stage", "rows"), [("base", 6), ("pool", 8), ("joint", 12), ("narrow", 14)])
def test_a_stored_training_under_way_ends_with_the_stored_weights_and_log(run, stage, rows):
    new, stored = go_on(run, stage), content(STORED / "run" / "log.jsonl")[:rows]
    for name in ENDS[stage]:
        assert_same_tensors(run / name, STORED / "run" / name)
        assert keys(record(run / name)) == RECORDS[name]
    assert len(new) == rows
    for here, there in zip(new, stored, strict=True):
        place = ["stage", "part"] if here["stage"] == "pool" else ["stage"]
        assert list(there) == [*place, *EPOCH]
        assert [key for key in here if key != "attacked_first"] == list(there)  # newer than the format
        assert here["loss"] == pytest.approx(there["loss"], abs=1e-4)
        steady = [*place, "epoch", "epochs", "attack", "lr", "images", "clean", "attacked"]
        assert [here[name] for name in steady] == [there[name] for name in steady]
    for name in JSON_FILES[stage]:
        written, was = content(run / name), content(STORED / "run" / name)
        assert set(was) <= set(written)
        assert grown(written, {key: value for key, value in was.items() if key not in JUDGED_ANEW})


JUDGED_ANEW = {"reason", "attacked_by_prefix"}  # 0.1 judged teams and prefixes on attacks against the mean
SINCE_0_1 = {"batch", "trained_s"}  # an epoch can be interrupted; an old checkpoint is at its start


def test_a_training_that_is_stopped_leaves_the_stored_names(tmp_path):
    words = ("--data", DATA, "--run", tmp_path / "run", "--max-minutes", 0)
    assert call("train", STORED / "recipe.toml", *words).exit_code == 0
    new, stored = tmp_path / "run" / "base.state", STORED / "under-way" / "base" / "base.state"
    assert keys(record(new)) == UNDER_WAY | SINCE_0_1
    assert_same_tensors(new, stored)


def test_selection_and_joint_json_have_these_keys():
    by_size = {f"rd_by_size[].{name}" for name in ("size", "teams", "min", "mean", "max")}
    alone = {"attacked_alone.erm-0", "attacked_alone.ase-0"}
    selection = {"members[]", "rd", "attacked", "reason", "considered[]", "rd_by_size[]"} | by_size | alone
    assert keys(content(STORED / "run" / "selection.json")) == selection
    joint = {"members[]", "rd", "attacked_by_prefix[]", "notes[]", "training.gap"} | SUMMARY
    assert keys(content(STORED / "run" / "joint.json")) == joint


@pytest.mark.parametrize(("arch", "size"), [("resnet18", 8), ("vgg16", 32)])
def test_a_stored_pruned_network_of_each_kind_gives_its_stored_logits(arch, size):
    from eed_edge.train.networks.checkpoint import load_network

    with np.load(STORED / "networks" / "answers.npz") as arrays:
        images, expected = arrays["images"], arrays[arch]
    factor = size // images.shape[2]
    images = torch.from_numpy(images.repeat(factor, 2).repeat(factor, 3))
    with torch.no_grad():
        new = load_network(STORED / "networks" / f"{arch}.safetensors")[0](images).numpy()
    np.testing.assert_allclose(new, expected, atol=1e-5)


def test_calib_npz_has_the_images_of_the_gate():
    with np.load(STORED / "run" / "calib.npz") as arrays:
        assert {name: (values.shape, values.dtype.name) for name, values in arrays.items()} == {
            "images": ((40, 8, 8, 1), "uint8"),
            "labels": ((40,), "int64"),
        }
