"""A latency table: milliseconds of every layer over its widths, measured on one machine, in one file."""

import dataclasses
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from eed_edge import digest_json, schema
from eed_edge.atomic_files import write_atomic
from eed_edge.errors import InputError
from eed_edge.files.regular_files import read_regular


@dataclass(frozen=True, kw_only=True)
class LayerTimes:
    """Milliseconds of one layer at some widths.

    inputs, outputs: rising numbers of channels; the largest are those of the unpruned network.
    ms: ``(inputs, outputs)``, what follows the layer up to the next one included.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    ms: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        for side, knots in (("inputs", self.inputs), ("outputs", self.outputs)):
            if not knots or knots[0] < 1 or list(knots) != sorted(set(knots)):
                raise ValueError(f"{side}: expected rising numbers from 1 on, got {list(knots)!s:.60}")
        if [len(row) for row in self.ms] != [len(self.outputs)] * len(self.inputs):
            raise ValueError(f"ms: expected {len(self.inputs)} rows of {len(self.outputs)} numbers")
        if min(min(row) for row in self.ms) < 0:
            raise ValueError("ms: expected times of 0 or more")

    def at(self, inputs: Any, outputs: Any) -> Any:
        """Milliseconds at any widths: bilinear between the given ones, down to 0 for no channels.

        Args:
            inputs, outputs: numbers, or tensors (then differentiable).
        """
        (i, across), (j, along) = _cell(self.inputs, inputs), _cell(self.outputs, outputs)

        def corner(row: int, column: int) -> float:
            return self.ms[row - 1][column - 1] if row and column else 0.0

        low = corner(i, j) + (corner(i, j + 1) - corner(i, j)) * along
        high = corner(i + 1, j) + (corner(i + 1, j + 1) - corner(i + 1, j)) * along
        return low + (high - low) * across


def _cell(knots: tuple[int, ...], width: Any) -> tuple[int, Any]:
    """The place of ``width`` among 0 and the knots, and how far it lies towards the next one, in [0, 1]."""
    edges = (0, *knots)
    cell = min(max(bisect_right(edges, width) - 1, 0), len(edges) - 2)
    return cell, (width - edges[cell]) / (edges[cell + 1] - edges[cell])


@dataclass(frozen=True, kw_only=True)
class HeldOutErrors:
    """How far predictions were off on networks that were left out of the fit, as shares of their times."""

    networks: int
    median: float
    worst: float


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """Times of all layers of one architecture on one machine, one image a call.

    architecture: digest of layers, groups and image size; ``arch`` is what people call it.
    input: size of an image.
    dense_ms: measured time of the unpruned network.
    machine, conditions: as reports have them.
    """

    schema: Literal[1] = 1
    arch: str
    architecture: str
    precision: Literal["float32", "int8"]
    threads: int
    input: tuple[int, int, int]
    dense_ms: float
    layers: tuple[LayerTimes, ...]
    held_out: HeldOutErrors
    machine: dict[str, str | int | dict[str, str]]
    conditions: str
    commit: str
    digest: str = ""

    @property
    def cpu(self) -> str:
        """The processor's name."""
        return str(self.machine.get("cpu", "unknown"))

    def ms(self, widths: Mapping[str, tuple[Any, Any]]) -> Any:
        """Predicted milliseconds of a network.

        Args:
            widths: layer to its inputs and outputs; layers that the network lacks are left out.
        """
        return sum(layer.at(*widths[layer.name]) for layer in self.layers if layer.name in widths)


def write_latency_table(path: Path, table: LatencyTable) -> None:
    """Write the table whole, with a digest of its contents.

    Raises:
        StorageError: the disk is full.
    """
    write_atomic(path, digest_json.seal(dataclasses.asdict(table)))


def read_latency_table(path: Path) -> LatencyTable:
    """Read a table.

    Raises:
        InputError: the file is missing, damaged, or no latency table of this schema.
    """
    advice = "make one with eed-edge profile"
    try:
        raw = read_regular(path)
    except OSError as error:
        raise InputError(f"{path}: expected a latency table, got: {error.strerror}; {advice}") from error
    try:
        content = digest_json.decode(raw)
        table = schema.read_typed(LatencyTable, content, path.name)
        digest_json.check_seal(raw, content)
    except ValueError as error:
        raise InputError(f"{path}: expected a latency table, got another file: {error}; {advice}") from error
    return table
