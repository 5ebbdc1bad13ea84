"""Weights files of this project's format made to import, exhaust or deceive."""

import json

import torch
from safetensors.torch import save_file

from tests.hostile import special_files

GOOD = {"arch": "resnet18", "classes": 3, "channels": 3, "width": 8}


def _file(folder, architecture, *, raw=None):
    record = raw or json.dumps({"format": 1, "architecture": architecture})
    save_file({"x": torch.zeros(1)}, folder / "net.safetensors", {"eed_edge": record})
    return folder / "net.safetensors"


def imports_this(folder):
    """A network of a module that prints when it is imported."""
    return _file(folder, {**GOOD, "arch": "this:c"})


def imports_by_attribute(folder):
    """A function of the standard library that takes keywords."""
    return _file(folder, {**GOOD, "arch": "subprocess:run"})


def imports_planted_module(folder):
    """A module that lies beside the weights and writes a file when it is imported."""
    (folder / "planted.py").write_text(f"open({str(folder / 'sprung')!r}, 'w')\n")
    return _file(folder, {**GOOD, "arch": "planted:build"})


def number_for_name(folder):
    """A number where the name of the architecture is expected."""
    return _file(folder, {**GOOD, "arch": 5})


def list_for_name(folder):
    """A list where the name of the architecture is expected."""
    return _file(folder, {**GOOD, "arch": ["resnet18"]})


def text_for_width(folder):
    """A text where the width is expected."""
    return _file(folder, {**GOOD, "width": "8"})


def negative_width(folder):
    """A negative number of channels."""
    return _file(folder, {**GOOD, "width": -8})


def enormous_width(folder):
    """A width for which no machine has the memory."""
    return _file(folder, {**GOOD, "width": 10**12})


def wide_network(folder):
    """A width for which a large machine has the memory, and the file a single number."""
    return _file(folder, {**GOOD, "width": 512})


def enormous_classes(folder):
    """More classes than an index can count."""
    return _file(folder, {**GOOD, "classes": 10**30})


def more_arguments(folder):
    """An argument that builders of networks do not have."""
    return _file(folder, {**GOOD, "seed": 1})


def no_architecture(folder):
    """A record without an architecture."""
    return _file(folder, None)


def deep_record(folder):
    """A record of 100,000 nested lists."""
    return _file(folder, None, raw="[" * 100_000 + "]" * 100_000)


def long_number(folder):
    """A record with a number of 10,000 digits."""
    return _file(folder, None, raw='{"format": ' + "1" * 10_000 + "}")


def list_record(folder):
    """A record that is a list."""
    return _file(folder, None, raw="[1]")


def empty_weights(folder):
    """No bytes."""
    (folder / "net.safetensors").touch()
    return folder / "net.safetensors"


def long_header(folder):
    """A header that claims to be 2**63 bytes long."""
    (folder / "net.safetensors").write_bytes((2**63).to_bytes(8, "little") + b"{}")
    return folder / "net.safetensors"


HOSTILE_WEIGHTS = (
    imports_this,
    imports_by_attribute,
    imports_planted_module,
    number_for_name,
    list_for_name,
    text_for_width,
    negative_width,
    enormous_width,
    wide_network,
    enormous_classes,
    more_arguments,
    no_architecture,
    deep_record,
    long_number,
    list_record,
    empty_weights,
    long_header,
    *special_files.with_suffix(".safetensors"),
)
"""Each takes a folder and returns the path of a weights file that must be refused."""
