"""The hash-pinned device set is the declared one, and an audit that judged nothing fails."""

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PINNED = dict(
    re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements" / "device.txt").read_text(), re.MULTILINE)
)


def test_the_device_set_is_that_of_setup_cfg():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extra = setup["options.extras_require"]["images"]
    expected = [*setup["options"]["install_requires"].split(), *extra.split()]
    asked = (ROOT / "requirements" / "device.in").read_text().splitlines()
    assert sorted(line for line in asked if not line.startswith("#")) == sorted(expected)
    assert {re.split(r"[<>=]", name)[0] for name in expected} <= PINNED.keys()


def test_every_pin_is_that_of_constraints_and_has_hashes():
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    for name, version in PINNED.items():
        assert f"{name}=={version}" in constraints
    text = (ROOT / "requirements" / "device.txt").read_text()
    blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)
    assert all("--hash=sha256:" in block for block in blocks[1:])


def judged(**other):
    every = {name: {"name": name, "version": version, "vulns": []} for name, version in PINNED.items()}
    return {"dependencies": list({**every, **other}.values())}


SKIPPED = {"name": "numpy", "skip_reason": "not found"}
VULNERABLE = {"name": "numpy", "version": "1", "vulns": [{"id": "CVE-1"}]}


@pytest.mark.parametrize(
    ("answer", "code", "expected"),
    [
        (judged(), 0, f"{len(PINNED)} packages judged"),
        (judged(numpy=SKIPPED), 1, "not judged: numpy"),
        ({"dependencies": []}, 1, "not judged: "),
        (judged(numpy=VULNERABLE), 1, "numpy 1: CVE-1"),
        ("No known vulnerabilities", 1, "pip-audit gave no answer"),
    ],
)
def test_an_audit_succeeds_only_when_every_package_was_judged(tmp_path, answer, code, expected):
    text = answer if isinstance(answer, str) else json.dumps(answer)
    (tmp_path / "pip_audit.py").write_text(f"print({text!r})")  # its service is not to be had in tests
    result = subprocess.run(
        [sys.executable, ROOT / "scripts" / "audit"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == code
    assert expected in result.stdout + result.stderr
