"""What must hold of the package as a whole: its imports, its front door, its packaging."""

import configparser
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import eed_edge
import eed_edge.cli
import eed_edge.runtime
from eed_edge import errors

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "onnx", "onnxscript", "torch_pruning", "sklearn", "scipy", "matplotlib", "pooch"}


def modules_below(package):
    return [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]


def imported_by(code):
    """The top-level packages that a fresh interpreter has after running ``code``."""
    ask = f"{code}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.check_output([sys.executable, "-c", ask], cwd=ROOT, text=True).split())


def test_importing_the_package_imports_neither_torch_nor_onnxruntime_nor_numpy():
    assert not imported_by("import eed_edge") & (HEAVY | {"onnxruntime", "numpy", "PIL", "click"})


@pytest.mark.parametrize("preset", [None, "7"])
def test_importing_the_package_sets_what_libraries_read_when_they_are_loaded_unless_it_is_set(preset):
    names = ("GOMP_SPINCOUNT", "ORT_DISABLE_TELEMETRY")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    environment |= dict.fromkeys(names, preset) if preset else {}
    ask = f"import os, eed_edge; print(*map(os.environ.get, {names}))"
    command = [sys.executable, "-c", ask]
    values = subprocess.check_output(command, cwd=ROOT, env=environment, text=True).split()
    assert values == ([preset] * 2 if preset else ["10000", "1"])


def test_the_whole_runtime_needs_no_torch_and_opens_no_picture_library():
    code = "\n".join(f"import {name}" for name in modules_below(eed_edge.runtime))
    assert not imported_by(f"{code}\nimport eed_edge; eed_edge.load") & (HEAVY | {"PIL", "click"})


def test_every_command_can_be_listed_without_its_heavy_imports():
    code = "\n".join(f"import {name}" for name in modules_below(eed_edge.cli))
    assert not imported_by(code) & (HEAVY | {"onnxruntime"})


@pytest.mark.parametrize("name", eed_edge.__all__)
def test_the_front_door_opens(name):
    assert getattr(eed_edge, name) is not None
    assert name in dir(eed_edge)


def test_an_unknown_name_at_the_front_door_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'unload'"):
        _ = eed_edge.unload


def test_all_errors_are_listed_drawn_and_have_two_parents():
    values = dict(inspect.getmembers(errors, inspect.isclass))
    assert sorted(values) == sorted(errors.__all__)
    for name, error in values.items():
        if error is not errors.EedError:
            assert error.__bases__[0] is errors.EedError
            assert re.search(rf"{name} +\({error.__bases__[1].__name__}\)", errors.__doc__)


@pytest.fixture(scope="module")
def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_recipe_is_packed_into_the_wheel():
    ask = "from setuptools.dist import Distribution; import distutils.core, json;"
    ask += "print(json.dumps(distutils.core.run_setup('setup.py', stop_after='config').data_files))"
    answer = subprocess.check_output([sys.executable, "-c", ask], cwd=ROOT, text=True).splitlines()[-1]
    packed = dict(json.loads(answer))
    there = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("models/*/recipe.toml"))]
    assert packed == {f"share/eed-edge/{Path(path).parent}": [path] for path in there}


def test_every_dependency_is_pinned_to_the_tested_version(setup):
    def names(text):
        return {re.split(r"[\[<>=;]", line)[0].lower() for line in text.split("\n") if line}

    asked = names(setup["options"]["install_requires"])
    for extra in setup["options.extras_require"].values():
        asked |= names(extra)
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.lower() for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9_.-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    assert asked - {"eed-edge"} <= {pin.partition("==")[0] for pin in pins}
