"""A folder of networks to measure: one architecture at several widths, with an index of their layers."""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eed_edge import digest_json, schema
from eed_edge.errors import InputError
from eed_edge.files.regular_files import read_regular
from eed_edge.manifest_bounds import LARGEST_MANIFEST

INDEX = "networks.json"
SLOT = "slot"
"""Nodes of a network are called ``slot0_1`` and so on: the number of their layer, and one of their own."""


@dataclass(frozen=True, kw_only=True)
class LadderNetwork:
    """One network of the folder.

    slots: name of the layer that each slot's time is charged to.
    widths: layer to its inputs and outputs.
    """

    file: str
    sha256: str
    slots: tuple[str, ...]
    widths: dict[str, tuple[int, int]]

    def __post_init__(self) -> None:
        if Path(self.file).name != self.file:
            raise ValueError(f"file: expected a name without a folder, got {self.file!r:.60}")
        if missing := {*self.slots} - {*self.widths}:
            raise ValueError(f"widths: expected those of {min(missing)!r:.60}")
        if not self.slots or min(min(pair) for pair in self.widths.values()) < 1:
            raise ValueError("widths: expected one layer or more of one channel or more")


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The index; its first network is the unpruned one, its second the smallest.

    architecture: digest of layers, groups and image size; ``arch`` is what people call it.
    """

    schema: Literal[1] = 1
    arch: str
    architecture: str
    precision: Literal["float32", "int8"]
    input: tuple[int, int, int]
    networks: tuple[LadderNetwork, ...]
    digest: str = ""

    def __post_init__(self) -> None:
        if len(self.networks) < 2:
            raise ValueError(f"networks: expected two or more, got {len(self.networks)}")


def write_index(folder: Path, ladder: Ladder) -> None:
    """Write the index into a folder that is not in place yet."""
    (folder / INDEX).write_bytes(digest_json.seal(dataclasses.asdict(ladder)))


def read_index(folder: Path) -> Ladder:
    """Read the index of a folder.

    Raises:
        InputError: it is missing, damaged or of another schema.
    """
    try:
        content = digest_json.decode(raw := read_regular(folder / INDEX, most_bytes=LARGEST_MANIFEST))
        ladder = schema.read_typed(Ladder, content, INDEX)
        digest_json.check_seal(raw, content)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: expected a folder of eed-edge profile --networks, got: {error}; write it again"
        ) from error
    return ladder


def read_network(folder: Path, network: LadderNetwork) -> bytes:
    """Read the bytes of a network.

    Raises:
        InputError: the file is missing or another one.
    """
    path = folder / network.file
    try:
        model = read_regular(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; write the folder again") from error
    if hashlib.sha256(model).hexdigest() != network.sha256:
        raise InputError(f"{path}: expected the file of {INDEX}, got another; copy the folder again")
    return model
