"""Provenance: check by a hash of the weights, without torch, that a bundle was exported from a run."""

import hashlib
import json
from pathlib import Path

from eed_edge.errors import CheckpointError
from eed_edge.manifest import Manifest

WEIGHTS = "weights_sha256"  # the manifest's metric that links a bundle to its run
_PIECE = 2**20  # bytes hashed at a time


def check_belongs(manifest: Manifest, run: Path) -> None:
    """Check that a bundle was exported from this run in its present state.

    Raises:
        CheckpointError: it was not, or the run has no finished team.
    """
    if (manifest.metrics or {}).get(WEIGHTS) != weights_digest(run):
        raise CheckpointError(f"the bundle was not exported from {run} as it is now; export it again")


def weights_digest(run: Path) -> str:
    """Return the SHA-256 of the members' concatenated weight files, in running order.

    Raises:
        CheckpointError: a file of the finished team is missing or damaged.
    """
    state = hashlib.sha256()
    try:
        count = len(json.loads((run / "joint.json").read_bytes())["members"])
        for i in range(count):
            with (run / "joint" / f"member-{i}.safetensors").open("rb") as stream:
                while piece := stream.read(_PIECE):
                    state.update(piece)
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise CheckpointError(
            f"{run}: expected the run that the bundle was exported from, with joint.json and its members,"
            f" got: {reason}; name that run, or finish it with eed-edge train"
        ) from error
    return state.hexdigest()
