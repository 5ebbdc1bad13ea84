"""The device part can be lifted out: its files and what they import answer pictures without the rest."""

import ast
import json
import shutil
import subprocess
import sysconfig
import venv
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest

import eed_edge

PACKAGE = Path(eed_edge.__file__).parent
DISTRIBUTIONS = ("numpy", "onnxruntime", "click", "flatbuffers", "packaging", "protobuf")
ANSWER = """
import json, sys
from pathlib import Path
import numpy as np
import eed_edge
from eed_edge.images.npz import read_npz
from eed_edge.images.preprocess import prepare
net = eed_edge.load(sys.argv[1])
pictures, _ = read_npz(Path(sys.argv[2]))
answer = net(np.stack([prepare(picture, net.manifest.input) for picture in pictures]))
modules = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([answer.probs.tolist(), sorted(modules & {"torch", "onnx", "PIL", "scipy"})]))
"""


def files_needed() -> set[Path]:
    """``runtime/``, ``images/``, the package's front door, and whatever of the package these import."""
    needed = {
        PACKAGE / "__init__.py",
        *(PACKAGE / "runtime").rglob("*.py"),
        *(PACKAGE / "images").rglob("*.py"),
    }
    waiting = list(needed)
    while waiting:
        tree = ast.parse(waiting.pop().read_text())
        for node in tree.body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = []
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eed_edge"):
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                files = {path for name in names if (path := file_of(name)) is not None} - needed
                needed |= files
                waiting += files
    return needed


def file_of(module: str) -> Path | None:
    path = PACKAGE.parent / module.replace(".", "/")
    places = (path.with_suffix(".py"), path / "__init__.py")
    return next((place for place in places if place.is_file()), None)


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    """An environment with numpy, onnxruntime, click and what these need, taken from this one."""
    venv.create(tmp_path / "bare", symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "bare")}))
    for name in DISTRIBUTIONS:
        for file in distribution(name).files or ():
            top = file.parts[0]
            if top != ".." and not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    return tmp_path / "bare" / "bin" / "python"


@pytest.mark.slow
def test_the_device_part_alone_answers_pictures(make_tiny, bare_python, tmp_path):
    for file in files_needed():
        place = tmp_path / "lifted" / file.relative_to(PACKAGE.parent)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    tiny = make_tiny()
    size = tiny.manifest.input.size
    pictures = np.random.default_rng(0).integers(0, 256, (6, *size[1:], size[0]), dtype=np.uint8)
    np.savez(tmp_path / "pictures.npz", images=pictures)
    (tmp_path / "answer.py").write_text(ANSWER)
    command = [
        str(bare_python),
        str(tmp_path / "answer.py"),
        str(tiny.folder),
        str(tmp_path / "pictures.npz"),
    ]
    environment = {"PYTHONPATH": str(tmp_path / "lifted"), "ORT_DISABLE_TELEMETRY": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    probs, others = json.loads(result.stdout)
    images = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32) / 255
    assert np.allclose(probs, eed_edge.load(tiny.folder)(images).probs, atol=1e-6)
    assert others == []
    lifted = {path.relative_to(tmp_path / "lifted").parts[1] for path in (tmp_path / "lifted").rglob("*.py")}
    assert not lifted & {
        "attacks",
        "cli",
        "evaluate",
        "export",
        "html",
        "pipeline",
        "prune",
        "select",
        "train",
    }
