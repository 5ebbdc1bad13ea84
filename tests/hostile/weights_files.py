"""Weights files of this project's format made to import, exhaust or deceive."""

import json
import zipfile

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


def deflated_weights(folder):
    """A file of torch.save, compressed: 20 MB of zeros in 20 kB."""
    path = folder / "net.pt"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("net/data/0", "w") as member,
    ):
        for _ in range(20):
            member.write(bytes(1_000_000))
    storage = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuJ" + (5_000_000).to_bytes(
        4, "little"
    )
    size = b"J" + (5_000_000).to_bytes(4, "little") + b"\x85K\1\x85"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"tQK\0" + size + b"\x89}tR"
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", b"\x80\2}X\1\0\0\0x" + rebuilt + b"s.")
        archive.writestr("net/version", "3\n")
        archive.writestr("net/byteorder", "little")
    return path


def tuples_of_tuples(folder):
    """A pickle of 300 bytes whose key, a tuple of two equal tuples and so on, takes years to hash."""
    torch.save({"x": torch.zeros(1)}, folder / "sound.pt")
    pairs = (b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(40))
    pickled = b"\x80\2)q\0" + b"".join(pairs) + b"}h\x28K\1s."
    with (
        zipfile.ZipFile(folder / "sound.pt") as sound,
        zipfile.ZipFile(folder / "net.pt", "w") as archive,
    ):
        for member in sound.infolist():
            content = pickled if member.filename.endswith("/data.pkl") else sound.read(member)
            archive.writestr(member.filename, content)
    return folder / "net.pt"


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
    deflated_weights,
    tuples_of_tuples,
    *special_files.with_suffix(".safetensors"),
)
"""Each takes a folder and returns the path of a weights file that must be refused."""
