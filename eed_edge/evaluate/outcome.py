"""The outcome of one attack job and its NPZ file."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eed_edge.arrays import Bools, Ints
from eed_edge.files.npz_archive import read_arrays


@dataclass(frozen=True)
class Outcome:
    """The outcome of one job on ``n`` images.

    right: correctness by defence (``static``, ``dynamic``, a single network), ``(n,)`` bool.
    submodels_used, answer: of the deployed rule, ``(n,)`` int64.
    probs: of every member in torch, ``(members, n, k)`` float32.
    images: adversarial images ``(n, c, h, w)`` float32 if they are needed later, else empty.
    """

    right: dict[str, Bools]
    submodels_used: NDArray[np.int64]
    answer: NDArray[np.int64]
    probs: NDArray[np.float32]
    images: NDArray[np.float32]
    seconds: float
    warnings: list[str] = field(default_factory=list)

    def prefix_correct(self, length: int, labels: Ints) -> Bools:
        """Whether the mean of the first ``length`` members is correct, ``(n,)`` bool."""
        right: Bools = self.probs[:length].mean(0).argmax(1) == labels
        return right

    def without_images(self) -> "Outcome":
        """The same without the adversarial images."""
        return replace(self, images=self.images[:0])

    def to_npz(self) -> bytes:
        """Serialise as the bytes of an NPZ file."""
        stream = io.BytesIO()
        np.savez(
            stream,
            submodels_used=self.submodels_used,
            answer=self.answer,
            probs=self.probs,
            images=self.images,
            told=np.frombuffer(json.dumps([self.seconds, self.warnings]).encode(), np.uint8),
            **{f"right {name}": right for name, right in self.right.items()},  # type: ignore[arg-type]
        )
        return stream.getvalue()

    @classmethod
    def from_npz(cls, path: Path) -> "Outcome | None":
        """Read such a file; None if it is missing or damaged."""
        try:
            arrays = read_arrays(path, None)
            seconds, warnings = json.loads(arrays["told"].tobytes())
            return cls(
                {name[6:]: array for name, array in arrays.items() if name.startswith("right ")},
                arrays["submodels_used"],
                arrays["answer"],
                arrays["probs"],
                arrays["images"],
                seconds,
                warnings,
            )
        except Exception:  # any damage; the batch is then repeated
            return None

    @classmethod
    def concatenate(cls, parts: "Sequence[Outcome]") -> "Outcome":
        """Join the outcomes of one job over several batches."""
        return cls(
            {name: np.concatenate([part.right[name] for part in parts]) for name in parts[0].right},
            np.concatenate([part.submodels_used for part in parts]),
            np.concatenate([part.answer for part in parts]),
            np.concatenate([part.probs for part in parts], axis=1),
            np.concatenate([part.images for part in parts]),
            sum(part.seconds for part in parts),
            list(dict.fromkeys(text for part in parts for text in part.warnings)),
        )
