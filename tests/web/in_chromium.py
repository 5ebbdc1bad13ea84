"""``make web-test``: the page in a headless Chromium says what Python says; its gate in Node, too.

Needs node, npm and Chromium, which CHROMIUM may name, and the files of ``make web-files``. Screenshots go to
``build/web-test``.
"""

import json
import os
import shutil
import subprocess
import threading
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eed_edge
from eed_edge.images.preprocess import open_picture
from eed_edge.runtime.gates.margins import near_ties
from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.web.browser_engine import read_engine
from eed_edge.web.page_server import PageServer
from eed_edge.web.page_site import build_site
from tests.conftest import call
from tests.formats.stored import STORED
from tests.runtime.conftest import softmax
from tests.web.page_bundles import CLASSES, MEMBERS, bundle_answering, bundle_of_large_pictures

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
WORK = ROOT / "build" / "web-test"
CIFAR = ROOT / "models" / "cifar10-resnet18-w16" / "bundle"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TOLERANCE = 1e-5
PARAMETERS = {
    "confidence": {"threshold": 0.7, "thresholds": (0.8, 0.7, 0.6)},
    "agreement": {"votes": 2},
    "geometric": {"g": 1.5, "k": 0.8},
}
OTHER_PARAMETERS = [
    ("confidence", {"threshold": 0.7}),
    ("agreement", {"votes": 1}),
    ("geometric", {"g": 1e6, "k": 0.0}),
]


def program(*names):
    page = next(filter(None, map(shutil.which, filter(None, names))), None)
    assert page, (
        f"expected {' or '.join(filter(None, names))}; on Debian: apt-get install nodejs npm chromium"
    )
    return page


def node(script, settings_of, *words):
    command = [program("node"), WORK / script, *words]
    done = subprocess.run(command, input=json.dumps(settings_of), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session", autouse=True)
def installed():
    """The driver of the browser, below build/web-test with copies of the scripts that import it."""
    WORK.mkdir(parents=True, exist_ok=True)
    stamp, expected = WORK / "package.json", (HERE / "package.json").read_bytes()
    if not (WORK / "node_modules").is_dir() or not stamp.exists() or stamp.read_bytes() != expected:
        stamp.write_bytes(expected)
        flags = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--silent")
        subprocess.run([program("npm"), "install", "--prefix", WORK, *flags], check=True)
    shutil.copy(HERE / "use_page.mjs", WORK)


@pytest.fixture
def visit():
    """Serve a bundle, or take a server of its page, and use it; what holds of every visit is checked."""
    with ExitStack() as stack:

        def use(bundle, *steps, run=None, server=None, path="", **how):
            server = stack.enter_context(server or PageServer(build_site(bundle, run, read_engine())))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            chromium = program(os.environ.get("CHROMIUM"), *BROWSERS)
            origin = f"http://127.0.0.1:{server.server_port}/"
            settings_of = [{"url": origin + path, "steps": [["open"], *steps], **how}]
            (page,) = node("use_page.mjs", settings_of, chromium)
            assert page["console"] == []
            assert all(url.startswith((origin, "blob:", "data:")) for url in page["requests"])
            assert all(status == 200 for _, status in page["replies"])
            assert not page["wide"]
            assert [step["status"] for step in page["steps"]] == [""] * len(page["steps"])
            return page["steps"], page["requests"]

        yield use


def assert_same(shown, image, net):
    """The page shows what Python answers to the image ``(c, h, w)``, unless that is a near-tie."""
    answer, labels_of = net(image[None]), net.member_probs(image[None])
    if near_ties(labels_of, net.rule, net.parameters, tolerance=TOLERANCE, max_submodels=net.max_submodels)[
        0
    ]:
        return
    probs = np.array([shown["probs"][str(k)] for k in range(len(net.manifest.classes))])
    np.testing.assert_allclose(probs, answer.probs[0], atol=TOLERANCE)
    assert shown["label"] == net.manifest.classes[answer.labels[0]]
    assert shown["used"] == answer.submodels_used[0]
    assert shown["abstained"] == answer.abstained[0]
    assert sum("not needed" in text for text in shown["stages"]) == len(net.submodels) - shown["used"]


def seen_by_networks(shown, channels):
    """The image that the page shows, as the network's input; exact for pictures of 8 bits."""
    seen = shown["seen"]
    pixels = np.array(seen["rgb"], np.uint8).reshape(seen["height"], seen["width"], 3)
    return pixels.transpose(2, 0, 1)[:channels].astype(np.float32) / np.float32(255)


def golden_images(bundle):
    with np.load(bundle / "golden.npz") as arrays:
        return arrays["images"]


@pytest.mark.parametrize(("rule", "parameters"), [*PARAMETERS.items(), *OTHER_PARAMETERS])
def test_the_gate_in_javascript_is_the_gate_in_python(rule, parameters):
    rng = np.random.default_rng(0)
    settings = [
        {"maxSubmodels": most, "temperatures": temperatures}
        for most in (None, 1, 3)
        for temperatures in (None, (0.3, 0.9, 1.2, 3.0))
    ]
    for settings_of in settings:
        logits = rng.normal(0, 3, (300, MEMBERS, CLASSES))
        logits[:30] *= 40  # a probability of exactly 1
        logits[rng.random((300, MEMBERS)) < 0.1, 0] = np.nan
        logits[np.isnan(logits[:, : settings_of["maxSubmodels"], 0]).all(axis=1)] = 0
        gate = {
            "rule": rule,
            "parameters": parameters,
            "members": MEMBERS,
            "abstainBelow": 0.5,
            **settings_of,
        }
        plain = [[[None if np.isnan(v) else v for v in row] for row in image] for image in logits]
        done = subprocess.run(
            [program("node"), HERE / "gate_cases.mjs"],
            input=json.dumps([{"gate": gate, "logits": plain}]),
            capture_output=True,
            text=True,
            check=True,
        )
        (page,) = json.loads(done.stdout)
        labels_of = np.where(np.isnan(logits).any(2, keepdims=True), np.nan, logits).transpose(1, 0, 2)
        probs = softmax(labels_of).astype(np.float32)
        expected = replay_rule(
            probs,
            rule,
            parameters,
            max_submodels=settings_of["maxSubmodels"],
            temperatures=settings_of["temperatures"],
        )
        np.testing.assert_allclose([one["probs"] for one in page], expected.probs, atol=1e-6)
        for name, content in (
            ("label", expected.labels),
            ("used", expected.submodels_used),
            ("prefix", expected.answer_prefix),
            ("abstained", expected.probs.max(axis=1) < 0.5),
        ):
            np.testing.assert_array_equal([one[name] for one in page], content)


@pytest.mark.parametrize("rule", PARAMETERS)
def test_every_rule_number_and_failure_is_answered_as_in_python(visit, tmp_path, rule):
    bundle = bundle_answering(tmp_path / "bundle", rule=rule)
    images = golden_images(bundle)
    net = eed_edge.load(bundle)
    shown, _ = visit(bundle, *(["sample", i] for i in range(len(images))))
    for i, image in enumerate(images):
        assert_same(shown[i + 1], image, net)
    assert len({step["used"] for step in shown}) > 2
    assert any("failed" in text for step in shown for text in step["stages"])


def test_rule_and_number_of_sub_models_can_be_changed(visit, tmp_path):
    bundle = bundle_answering(tmp_path / "bundle")
    steps = [(rule, cap) for rule in PARAMETERS for cap in (1, 2, 4)]
    words = [word for rule, cap in steps for word in (["rule", rule], ["cap", cap])]
    shown, _ = visit(bundle, ["sample", 3], *words)
    for (rule, cap), step in zip(steps, shown[3::2], strict=True):
        net = eed_edge.load(bundle, rule=rule, max_submodels=cap)
        assert_same(step, golden_images(bundle)[3], net)


def test_a_stored_attack_changes_the_answer_as_in_python_and_dense_is_asked_on_request(visit):
    strengths = (0, 35, 100, 200)
    steps = [
        [name, value]
        for i in (0, 5)
        for name, value in (("sample", i), *(("strength", s) for s in strengths))
    ]
    shown, requests = visit(STORED / "bundle", *steps, ["dense"], run=STORED / "run")
    net = eed_edge.load(STORED / "bundle")
    with np.load(STORED / "run" / "evaluation.npz") as stored:
        strip = {name: stored[f"strip_{name}"].transpose(0, 3, 1, 2) for name in ("clean", "attacked")}
        labels = stored["strip_labels"]
    changed = np.flatnonzero((strip["clean"] != strip["attacked"]).any(axis=(1, 2, 3)))
    read = iter(shown[1:])
    for i in (changed[0], changed[5]):
        next(read)
        clean, attacked = strip["clean"][i].astype(np.float64), strip["attacked"][i].astype(np.float64)
        for strength in strengths:
            step = next(read)
            image = np.clip(clean + strength / 100 * (attacked - clean), 0, 1).astype(np.float32)
            assert_same(step, image, net)
            right = step["label"] == net.manifest.classes[labels[i]]
            assert step["verdict"].startswith("✓ right" if right else "✗ wrong")
    asked = next(read)
    assert any(url.endswith("/dense.onnx") for url in requests)
    assert all(step["dense"] is None for step in shown[:-1])
    import onnxruntime

    dense = onnxruntime.InferenceSession(STORED / "bundle" / "dense.onnx", providers=["CPUExecutionProvider"])
    probs = softmax(dense.run(None, {net.manifest.input.name: image[None]})[0])[0]
    assert asked["dense"] == net.manifest.classes[probs.argmax()]
    assert asked["denseProb"] == pytest.approx(probs.max(), abs=TOLERANCE)


def test_arrow_keys_go_from_image_to_image(visit):
    shown, requests = visit(CIFAR, ["sample", 0], ["next"], ["next"])
    net = eed_edge.load(CIFAR)
    for step, image in zip(shown[1:], golden_images(CIFAR), strict=False):
        assert_same(step, image, net)
    assert not any(url.endswith("dense.onnx") for url in requests)


def test_a_picture_is_prepared_as_the_manifest_says_and_the_last_choice_is_shown(visit, tmp_path):
    bundle = bundle_of_large_pictures(tmp_path / "bundle")
    net = eed_edge.load(bundle)
    rng = np.random.default_rng(4)
    paths = []
    for i, (size, mode) in enumerate([((700, 400), "RGB"), ((200, 1900), "RGB"), ((400, 300), "L")]):
        coarse = rng.integers(0, 256, (size[1] // 20, size[0] // 20, 3), dtype=np.uint8)
        paths.append(tmp_path / f"<b>{i}&amp;.png")
        Image.fromarray(coarse).resize(size).convert(mode).save(paths[-1])
    exif = Image.Exif()
    exif[0x0112] = 6
    paths.append(tmp_path / "turned.png")
    Image.open(paths[0]).save(paths[-1], exif=exif)
    shown, _ = visit(bundle, ["source", "file"], *(["file", str(path)] for path in paths))
    for step, path in zip(shown[2:], paths, strict=True):
        image = open_picture(path, net.manifest.input)
        np.testing.assert_array_equal(seen_by_networks(step, 3), image)
        assert_same(step, image, net)
    Image.fromarray(coarse).resize((3400, 3400)).save(slow := tmp_path / "slow.png")
    (*_, last), _ = visit(bundle, ["source", "file"], ["files", str(slow), str(paths[0])])
    assert_same(last, open_picture(paths[0], net.manifest.input), net)


def test_a_drawing_is_scaled_to_the_height_of_the_images(visit):
    stroke = [[0.4, 0.3], [0.5, 0.25], [0.5, 0.6]]
    shown, _ = visit(STORED / "bundle", ["source", "draw"], ["draw", stroke], run=STORED / "run")
    image = seen_by_networks(shown[-1], 1)
    inked = np.flatnonzero((image[0] > 0.25).any(axis=1))
    assert inked[-1] - inked[0] + 1 == image.shape[1]  # digits of this set fill the height
    assert_same(shown[-1], image, eed_edge.load(STORED / "bundle"))


def test_a_written_folder_works_on_a_plain_host_below_any_path(visit, tmp_path):
    written = call("web", CIFAR, "--out", tmp_path / "deep" / "page")
    assert written.exit_code == 0, written.output
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=tmp_path))
    shown, requests = visit(CIFAR, ["sample", 1], server=server, path="deep/page/")
    assert_same(shown[-1], golden_images(CIFAR)[1], eed_edge.load(CIFAR))
    assert all("/deep/page/" in url for url in requests if url.startswith("http"))


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_screen(visit, width, scheme):
    picture = WORK / f"{width}-{scheme}.png"
    visit(
        STORED / "bundle",
        ["strength", 100],
        ["screenshot", str(picture)],
        run=STORED / "run",
        width=width,
        scheme=scheme,
    )
    with Image.open(picture) as taken:
        assert taken.width == width
