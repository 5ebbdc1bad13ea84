"""Whatever is changed in a file, it is read or refused in one line by an error of ours: never another error.

``make fuzz`` asks for more examples: ``FUZZ_EXAMPLES=1000``.
"""

import io
import json
import os
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from eed_edge import digest_json
from eed_edge.errors import BundleError, CheckpointError, InputError, RecipeError
from eed_edge.images.npz import read_npz
from eed_edge.images.preprocess import decode_picture
from eed_edge.manifest import Manifest, dump_manifest, parse_manifest
from eed_edge.recipe import Recipe, load_recipe
from eed_edge.runtime.bundle.folder import open_bundle
from eed_edge.runtime.bundle.golden_file import GoldenAnswers, read_golden

ROOT = Path(__file__).parents[2]
BUNDLES = [ROOT / "tests" / "formats" / f"version-{version}" / "bundle" for version in ("0.1", "0.2")]
RECIPES = [path.read_bytes() for path in sorted(ROOT.glob("models/*/recipe.toml"))]
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
few = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)

ODD = st.one_of(
    st.sampled_from([None, True, -1, 0, 2**63, 10**400, 1e308, -0.0, "", "\x1b]0;x\x07", "\ud800", [], {}]),
    st.recursive(st.none() | st.integers() | st.floats() | st.text(max_size=9), st.lists, max_leaves=9),
    st.dictionaries(st.text(max_size=9), st.integers(), max_size=3),
)
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1), st.integers(0, 9), st.binary(max_size=6) | st.sampled_from([b"\0" * 4, b"\xff" * 4])
    ),
    min_size=1,
    max_size=4,
)


def edited(raw, edits):
    """Bytes with pieces replaced: where, as a fraction, how many bytes go, and what comes."""
    for where, gone, new in edits:
        at = round(where * len(raw))
        raw = raw[:at] + new + raw[at + gone :]
    return raw


def places(value, path=()):
    """All paths into a tree of dicts and lists."""
    yield path
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        yield from places(inner, (*path, key))


@st.composite
def changed(draw, tree):
    """The tree with a few values replaced, removed or added."""
    tree = deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in places(tree) if path]))
        *parents, last = path
        owner = tree
        for key in parents:
            owner = owner[key]
        way = draw(st.sampled_from(["replace", "remove", "add"]))
        if way == "remove":
            del owner[last]
        elif way == "add" and isinstance(owner, dict):
            owner[draw(st.text(max_size=9))] = draw(ODD)
        else:
            owner[last] = draw(ODD)
        if not tree:
            break
    return tree


def read_or_refused(read, error):
    """What ``read`` returns, or None where it raises ``error`` in one short line."""
    try:
        return read()
    except error as refusal:
        text = str(refusal)
        assert text
        assert len(text) < 1000
        assert "\n" not in text
        return None


@few
@given(st.sampled_from(BUNDLES).flatmap(lambda b: changed(json.loads((b / "manifest.json").read_bytes()))))
def test_a_changed_manifest_with_a_digest_that_fits(content):
    try:
        raw = digest_json.seal(content)
    except ValueError:  # not JSON at all
        raw = json.dumps(content).encode()
    manifest = read_or_refused(lambda: parse_manifest(raw), BundleError)
    if manifest is not None:
        assert isinstance(manifest, Manifest)
        assert parse_manifest(dump_manifest(manifest)) == manifest


@few
@given(st.sampled_from(BUNDLES), EDITS)
def test_a_manifest_with_other_bytes(bundle, edits):
    raw = (bundle / "manifest.json").read_bytes()
    read_or_refused(lambda: parse_manifest(edited(raw, edits)), BundleError)


@few
@given(raw=st.sampled_from(RECIPES), edits=EDITS)
def test_a_recipe_with_other_bytes(tmp_path_factory, raw, edits):
    path = tmp_path_factory.getbasetemp() / "recipe.toml"
    path.write_bytes(edited(raw, edits))
    recipe = read_or_refused(lambda: load_recipe(str(path)), RecipeError)
    assert recipe is None or isinstance(recipe, Recipe)


@few
@given(key=st.sampled_from(["base", "base.epochs", "net.width", "data.size", "pool.subsets", "x"]), value=ODD)
def test_a_recipe_with_another_value(key, value):
    read_or_refused(lambda: load_recipe("digits", [f"{key}={json.dumps(value)}"]), RecipeError)


def npz(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


SET = npz(images=np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3), labels=np.arange(2))


@few
@given(edits=EDITS)
def test_an_npz_file_with_other_bytes(tmp_path_factory, edits):
    path = tmp_path_factory.getbasetemp() / "images.npz"
    path.write_bytes(edited(SET, edits))
    arrays = read_or_refused(lambda: read_npz(path), InputError)
    assert arrays is None or (arrays[0].ndim == 4 and arrays[0].dtype == np.uint8)


@few
@given(st.sampled_from(BUNDLES), EDITS)
def test_golden_answers_with_other_bytes(bundle, edits):
    opened = open_bundle(bundle)
    raw = edited((bundle / "golden.npz").read_bytes(), edits)

    class Changed:
        manifest = opened.manifest

        def read(self, _):
            return raw

    golden = read_or_refused(lambda: read_golden(Changed()), BundleError)
    assert golden is None or isinstance(golden, GoldenAnswers)


def picture(kind, **options):
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


PICTURES = [
    picture("PNG"),
    picture("JPEG"),
    picture("JPEG", progressive=True),
    *map(picture, ("WEBP", "BMP", "PPM")),
]


@few
@given(st.sampled_from(PICTURES), EDITS)
def test_a_picture_with_other_bytes(raw, edits):
    pixels = read_or_refused(lambda: decode_picture(io.BytesIO(edited(raw, edits)), "a"), InputError)
    assert pixels is None or pixels.dtype == np.uint8


@settings(few, max_examples=max(EXAMPLES // 5, 5))
@given(data=st.data())
def test_a_checkpoint_with_another_record(tmp_path_factory, data):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from eed_edge.train.networks.build import build_network
    from eed_edge.train.networks.checkpoint import load_network

    net = build_network("resnet18", classes=2, channels=1, width=8)
    record = {"format": 1, "architecture": net.architecture, "memory_format": "contiguous"}
    record = data.draw(changed(record))
    tensors = data.draw(st.sampled_from([net.state_dict(), {"x": torch.zeros(1)}]))
    path = tmp_path_factory.getbasetemp() / "net.safetensors"
    save_file(tensors, path, {"eed_edge": json.dumps(record)})
    read_or_refused(lambda: load_network(path), CheckpointError)
