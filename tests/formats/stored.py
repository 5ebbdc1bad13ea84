"""The stored files, and how to look into any such file without the package's own readers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

HERE = Path(__file__).parent
STORED = HERE / "version-0.1"
DATA = STORED / "data"


def answers() -> dict[str, np.ndarray]:
    """The test images, and what every network and the bundle said of them when they were made."""
    with np.load(STORED / "answers.npz") as arrays:
        return dict(arrays)


def content(path: Path) -> Any:
    """A JSON file, or the lines of a file that ends with ``l``."""
    text = path.read_text()
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)


def keys(value: Any, at: str = "") -> set[str]:
    """The dotted names of all values; those in a list have one name together, with ``[]``."""
    if isinstance(value, dict):
        inside = [keys(part, f"{at}.{name}" if at else name) for name, part in value.items()]
        return set().union(*inside)
    if isinstance(value, list):
        return {f"{at}[]"}.union(*(keys(part, f"{at}[]") for part in value))
    return {at}


def listed(text: str) -> set[str]:
    """Names that are written one after another."""
    return set(text.split())


def record(path: Path) -> dict[str, Any]:
    """What a safetensors file says beside its tensors."""
    with safe_open(path, "np") as stream:
        return json.loads(stream.metadata()["eed_edge"])


def assert_same_tensors(new: Path, stored: Path) -> None:
    """The same names, and values as near as another machine's rounding lets them be."""
    left, right = load_file(new), load_file(stored)
    assert left.keys() == right.keys()
    for name, values in right.items():
        np.testing.assert_allclose(left[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


def grown(new: object, stored: object) -> bool:
    """Whether all that was stored is there with its value; a later version may have added fields."""
    if isinstance(stored, dict):
        return isinstance(new, dict) and all(
            key in new and grown(new[key], value) for key, value in stored.items()
        )
    return new == stored
