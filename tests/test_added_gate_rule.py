"""The rule of docs/adding-a-gate-rule.md, added to a copy of the package as the page says, is complete."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.formats.stored import STORED

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "adding-a-gate-rule.md"
NAMES = "eed_edge/gate_rules/rule_names.py"
REGISTRIES = {
    "eed_edge/gate_rules/rule_registry.py": ("eed_edge.gate_rules.lead_rule", "LeadRule", "LeadRule()"),
    "eed_edge/export/cascade_graph.py": ("eed_edge.export.lead_graph", "lead_graph", "lead_graph"),
    "eed_edge/evaluate/adaptive/soft_gates.py": (
        "eed_edge.evaluate.adaptive.lead_soft",
        "SoftLead",
        "SoftLead()",
    ),
}
LOADED = """
import sys
import numpy as np
import eed_edge
from eed_edge.manifest import dump_manifest, parse_manifest
net = eed_edge.load(sys.argv[1])
assert parse_manifest(dump_manifest(net.manifest)) == net.manifest
images = np.random.default_rng(0).random((20, *net.manifest.input.size), np.float32)
used = eed_edge.load(sys.argv[1], rule="lead", threshold=0.2)(images).submodels_used
assert used.min() < used.max(), used
eed_edge.load(sys.argv[1], rule="lead")
"""


def add_rule(tree: Path) -> None:
    """Write the page's files into the tree, and the lines that it names into the registries."""
    for name, code in re.findall(r"^`(\S+)`:\n\n```python\n(.*?)^```", PAGE.read_text(), re.M | re.S):
        assert not (tree / name).exists()
        (tree / name).write_text(code)
    for name, (module, imported, value) in REGISTRIES.items():
        text = (tree / name).read_text()
        text = text.replace("\nfrom eed_edge", f"\nfrom {module} import {imported}\nfrom eed_edge", 1)
        text, count = re.subn(r'(\n    "geometric": .*\n)', rf'\1    "lead": {value},\n', text)
        assert count == 1
        (tree / name).write_text(text)
    text = (tree / NAMES).read_text()
    assert text.count('"geometric"]') == 1
    (tree / NAMES).write_text(text.replace('"geometric"]', '"geometric", "lead"]'))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    tree = tmp_path_factory.mktemp("added")
    shutil.copytree(ROOT / "eed_edge", tree / "eed_edge", ignore=shutil.ignore_patterns("__pycache__"))
    add_rule(tree)
    return tree


def python(tree: Path, *words: str | Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, *words], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_it_keeps_to_the_contract_of_every_rule(tree):
    contract = ROOT / "tests/evaluate/adaptive/test_gate_contract.py"
    paths = f"pythonpath={tree} {ROOT}"
    options = ("-q", "-p", "no:cacheprovider", "-c", ROOT / "setup.cfg", "-o", paths, "-k", "lead or place")
    done = python(tree, "-m", "pytest", *options, contract)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 30, done.stdout


def test_bundles_from_before_are_read_and_say_that_they_have_no_parameters_for_it(tree):
    done = python(tree, "-c", LOADED, STORED.parent / "version-0.2" / "bundle")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.endswith("BundleError: the bundle has no parameters of the rule lead; export it again"), (
        done.stderr
    )


def test_the_command_line_takes_its_name(tree):
    done = python(tree, "-c", "from eed_edge.cli import main; main(['export', '--help'])")
    assert "confidence|agreement|geometric|lead" in re.sub(r"\s", "", done.stdout)
