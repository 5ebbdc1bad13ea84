"""Costs of a bundle on the device besides latency: start-up, memory, bytes on disk, images per second."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eed_edge.manifest import (
    CASCADE_FILE,
    DENSE_FILE,
    DENSE_INT8_FILE,
    MANIFEST_FILE,
    Manifest,
    parse_manifest,
)
from eed_edge.runtime.engine.session import SessionConfig
from eed_edge.runtime.measure.clock import Times
from eed_edge.runtime.measure.timing import measure_cold_start

UNNEEDED = (DENSE_FILE, DENSE_INT8_FILE, CASCADE_FILE)


def device_costs(
    folder: Path,
    manifest: Manifest,
    networks: Mapping[str, Path],
    config: SessionConfig,
    times: Mapping[str, Times],
    *,
    batch: int,
) -> dict[str, Any]:
    """Return the report's fields of start-up, memory, rate and size, each by name.

    Args:
        manifest: of the bundle ``folder``.
        networks: further ONNX files by name.
        times: of every program, in calls of ``batch`` images.

    Returns:
        What ``measure_cold_start`` returns, and ``disk_bytes``, of ``networks``, ``ensemble`` and
        ``single_file``; ``images_per_second`` of the programs, one after another; ``unneeded_bytes`` of the
        folder's files that running it does not need, though loading it verifies them.
    """
    paths = {**networks, "ensemble": folder}
    if CASCADE_FILE in manifest.files:
        paths["single_file"] = folder / CASCADE_FILE
    starts = {name: measure_cold_start(path, config=config) for name, path in paths.items()}
    programs = [name for name in times if not name.startswith(("prefix-", "submodel-"))]
    return {
        **{key: {name: cost[key] for name, cost in starts.items()} for key in starts["ensemble"]},
        "images_per_second": {name: 1000 * batch / float(times[name].mean()) for name in programs},
        "disk_bytes": {name: _bytes_needed(path) for name, path in paths.items()},
        "unneeded_bytes": {name: manifest.files[name].bytes for name in UNNEEDED if name in manifest.files},
    }


def _bytes_needed(path: Path) -> int:
    """Bytes of a file, or of a bundle's manifest and sub-models."""
    if path.is_file():
        return path.stat().st_size
    manifest = path / MANIFEST_FILE
    submodels = parse_manifest(manifest.read_bytes()).submodels
    return manifest.stat().st_size + sum(entry.bytes for entry in submodels)
