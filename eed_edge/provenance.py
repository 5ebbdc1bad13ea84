"""Provenance: digests that tie a bundle to the run it was exported from, and figures to both."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from eed_edge.errors import CheckpointError
from eed_edge.files.regular_files import open_regular, read_regular
from eed_edge.manifest import MANIFEST_FILE, Manifest

WEIGHTS_METRIC = "weights_sha256"
"""The manifest's metric that holds the digest."""
BASELINES = ("narrow", "single")
"""Static networks of a bundle's mean latency; in the run, each has its plan in ``.json`` and an ``.onnx``."""
_CHUNK = 2**20  # bytes hashed at a time


def weights_digest(files: Iterable[Path]) -> str:
    """SHA-256 of the weight files of all members, in running order."""
    state = hashlib.sha256()
    for file in files:
        with open_regular(file) as stream:
            while chunk := stream.read(_CHUNK):
                state.update(chunk)
    return state.hexdigest()


def manifest_digest(bundle: Path) -> str:
    """SHA-256 of a bundle's manifest, which has the digests of its files."""
    return hashlib.sha256(read_regular(bundle / MANIFEST_FILE)).hexdigest()


def evaluated_digest(run: Path, bundle: Path) -> "hashlib._Hash":
    """SHA-256 of what ``attack`` evaluates: the manifest with its digests, base and baselines."""
    state = hashlib.sha256(read_regular(bundle / MANIFEST_FILE))
    for path in (run / "base.safetensors", run / "narrow.safetensors"):
        state.update(read_regular(path) if path.exists() else b"none")
    if (single := run / "single.safetensors").exists():
        state.update(read_regular(single))
    return state


def check_exported_from(manifest: Manifest, run: Path, files: Iterable[Path]) -> None:
    """Check that a bundle was exported from a run as it is now.

    Args:
        files: the weight files of the run's members, in running order.

    Raises:
        CheckpointError: it was not.
    """
    if (manifest.metrics or {}).get(WEIGHTS_METRIC) != weights_digest(files):
        raise CheckpointError(f"the bundle was not exported from {run} as it is now; export it again")


def member_files(run: Path) -> list[Path]:
    """The weight files of a finished team, in running order; needs no torch.

    Raises:
        CheckpointError: a file of the team is missing or damaged.
    """
    try:
        count = len(json.loads(read_regular(run / "joint.json"))["members"])
        files = [run / "joint" / f"member-{i}.safetensors" for i in range(count)]
        for file in files:
            open_regular(file).close()
    except (OSError, ValueError, RecursionError, LookupError, TypeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise CheckpointError(
            f"{run}: expected the run that the bundle was exported from, with joint.json and its members,"
            f" got: {reason}; name that run, or finish it with eed-edge train"
        ) from error
    return files
