"""Read ``golden.npz``: images and their recorded answers, every size known before anything is unpacked."""

import io
import struct
import zipfile
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from eed_edge.arrays import Floats, Ints
from eed_edge.errors import BundleError
from eed_edge.manifest import GOLDEN_FILE, Manifest
from eed_edge.runtime.bundle.folder import Bundle
from eed_edge.runtime.bundle.limits import DEFAULT_LIMITS, Limits

_MOST_HEADER = 4096  # bytes of an array's header
_END = struct.Struct("<4s4H2LH")  # end of central directory
_MOST_DIRECTORY = 4096  # bytes of the list of members


@dataclass(frozen=True)
class GoldenAnswers:
    """Images and the recorded answers of the bundle's rule, without a deadline.

    images: ``(n, c, h, w)`` float32 in [0, 1], n at least 1.
    probs: ``(n, k)`` float32.
    labels: ``(n,)`` int64.
    submodels_used: ``(n,)`` int64.
    dense_probs: ``(n, k)`` float32 of ``dense.onnx``; None where none are recorded.
    """

    images: Floats
    probs: Floats
    labels: Ints
    submodels_used: Ints
    dense_probs: Floats | None = None


def read_golden(bundle: Bundle, *, limits: Limits = DEFAULT_LIMITS) -> GoldenAnswers:
    """Read ``golden.npz`` from its verified bytes, without unpickling.

    Raises:
        BundleError: it is damaged, or its arrays are not those of ``GoldenAnswers``.
    """
    raw = bundle.read(GOLDEN_FILE)
    try:
        return GoldenAnswers(**_read_arrays(raw, bundle.manifest, limits))
    except Exception as error:  # a damaged archive can raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BundleError(f"{GOLDEN_FILE}: {reason:.200}; export the bundle again") from error


def _read_arrays(raw: bytes, manifest: Manifest, limits: Limits) -> dict[str, NDArray[Any]]:
    _check_directory(raw)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        with archive.open(members["labels"]) as stream:
            count = (_header(stream)[0] or (0,))[0]
        if not 1 <= count <= limits.golden_images:
            raise ValueError(f"expected images, 1 to {limits.golden_images}, got {count}")
        expected = {
            "images": ((count, *manifest.input.size), "float32"),
            "probs": ((count, len(manifest.classes)), "float32"),
            "labels": ((count,), "int64"),
            "submodels_used": ((count,), "int64"),
        }
        if "dense_probs" in members:
            expected["dense_probs"] = expected["probs"]
        if len(archive.infolist()) != len(expected) or members.keys() != expected.keys():
            raise ValueError(f"expected the arrays {', '.join(expected)}, got {sorted(members)}")
        arrays = {}
        for name, (shape, dtype) in expected.items():
            with archive.open(members[name]) as stream:
                arrays[name] = _array(stream, name, shape, np.dtype(dtype))
    return arrays


def _check_directory(raw: bytes) -> None:
    """Check that the archive lists few members, before any reader lists them."""
    end = raw[-_END.size :]
    signature, *_, entries, size, _, comment = _END.unpack(end) if len(end) == _END.size else (b"",) * 8
    if signature != b"PK\5\6" or comment:
        raise ValueError("expected an archive of arrays, got another file: File is not a zip file")
    if entries > 8 or size > _MOST_DIRECTORY or raw[-_END.size - 20 : -_END.size - 16] == b"PK\6\7":
        raise ValueError(f"expected up to 8 arrays, got {entries} members")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and type of the array that follows."""
    version = npy.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"expected arrays of format 1.0, got {version}")
    shape, fortran, dtype = npy.read_array_header_1_0(stream, max_header_size=_MOST_HEADER)
    return shape, fortran, dtype


def _array(stream: IO[bytes], name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read one array of known shape and type; refuse another one before it is read."""
    actual, fortran, kind = _header(stream)
    if (actual, kind) != (shape, dtype):
        what = "allow_pickle=False does not read objects" if kind.hasobject else f"got {actual} {kind}"
        raise ValueError(f"expected {name} {shape} {dtype}, {what}")
    size = int(np.prod(shape)) * dtype.itemsize
    data = stream.read(size + 1)
    if len(data) != size:
        raise ValueError(f"expected {size} bytes of {name}, got {len(data)}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C").copy()
