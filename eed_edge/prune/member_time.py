"""Predicted time of a pruned network, from a latency table of its architecture."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eed_edge.errors import RecipeError
from eed_edge.latency.latency_table import LatencyTable, read_latency_table
from eed_edge.prune.channels.structure import Structure
from eed_edge.recipe import Prune


@dataclass(frozen=True)
class TimeBudget:
    """The most milliseconds that a member may take, by the table."""

    structure: Structure
    table: LatencyTable
    most_ms: float

    def ms(self, keep_ratio: Mapping[str, Any]) -> Any:
        """Predicted milliseconds when each group keeps a share of its channels.

        Args:
            keep_ratio: group root to a share in [0, 1], a float or a tensor (then differentiable).
        """
        return predicted_ms(self.structure, self.table, keep_ratio)

    def of_widths(self, widths: Mapping[str, int]) -> float:
        """Predicted milliseconds of a network.

        Args:
            widths: group root to channels that stay.
        """
        groups = self.structure.groups
        return float(self.ms({group.root: widths[group.root] / group.channels for group in groups}))

    def record(self, widths: Mapping[str, int]) -> dict[str, float | str]:
        """What is stored of a member of these widths: predicted time, precision and processor."""
        return {
            "predicted_ms": self.of_widths(widths),
            "predicted_for": self.table.precision,
            "predicted_on": self.table.cpu,
        }


def predicted_ms(structure: Structure, table: LatencyTable, keep_ratio: Mapping[str, Any]) -> Any:
    """Milliseconds of the network by the table when each group keeps a share of its channels."""
    full = {layer.name: (layer.inputs[-1], layer.outputs[-1]) for layer in table.layers}
    widths = {}
    for layer in structure.layers:
        if layer.name in full:
            shares = layer.remaining_shares(keep_ratio)
            widths[layer.name] = tuple(
                share * width for share, width in zip(shares, full[layer.name], strict=True)
            )
    return table.ms(widths)


def architecture_digest(structure: Structure, size: tuple[int, ...]) -> str:
    """SHA-256 of what a latency table depends on: layers, groups and the size ``(c, h, w)`` of an image."""
    layers = [
        [layer.name, layer.weights, layer.biases, layer.macs, {**layer.inputs}, {**layer.outputs}]
        for layer in structure.layers
    ]
    groups = [[group.root, group.channels, group.branch] for group in structure.groups]
    return hashlib.sha256(json.dumps([list(size), groups, layers]).encode()).hexdigest()


def time_budget(structure: Structure, size: tuple[int, ...], cfg: Prune) -> TimeBudget | None:
    """The time that a member may take, or None where the recipe does not limit it.

    Args:
        size: ``(c, h, w)`` of an image.

    Raises:
        InputError: the table cannot be read.
        RecipeError: it is of another architecture.
    """
    if not cfg.latency_table:
        return None
    table = read_latency_table(Path(cfg.latency_table))
    if table.architecture != architecture_digest(structure, size):
        raise RecipeError(
            f"prune.latency_table {cfg.latency_table}: expected times of this network and images of"
            f" {tuple(size)}, got those of {table.arch} and {table.input}; run eed-edge profile again"
        )
    dense = predicted_ms(structure, table, {group.root: 1.0 for group in structure.groups})
    return TimeBudget(structure, table, cfg.latency_ms or cfg.latency_share * dense)
