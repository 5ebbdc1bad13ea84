"""Golden answers that would open to more than they say, or that are none."""

import io
import zipfile
from collections.abc import Callable

import numpy as np

from eed_edge import manifest as contract
from tests.hostile.changed_bundle import Generator, with_file


def npz(arrays: dict[str, np.ndarray], *, compressed: bool = False) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def golden(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], **how: bool) -> Generator:
    def make(raw: bytes, _: contract.Manifest) -> bytes:
        with np.load(io.BytesIO(raw)) as arrays:
            return npz(change(dict(arrays)), **how)

    return with_file("golden.npz", make)


def repeated(arrays: dict[str, np.ndarray], times: int) -> dict[str, np.ndarray]:
    return {name: np.concatenate([values] * times) for name, values in arrays.items()}


def many_members(raw: bytes, _: contract.Manifest) -> bytes:
    stream = io.BytesIO(raw)
    with zipfile.ZipFile(stream, "a") as archive:
        for i in range(20_000):
            archive.writestr(f"{i}.npy", b"")
    return stream.getvalue()


def lying_header(raw: bytes, _: contract.Manifest) -> bytes:
    """``labels`` whose header claims 2**40 elements."""
    with np.load(io.BytesIO(raw)) as arrays:
        others = {name: values for name, values in arrays.items() if name != "labels"}
    stream = io.BytesIO(npz(others))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<i8", "fortran_order": False, "shape": (1 << 40,)}
    )
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("labels.npy", header.getvalue())
    return stream.getvalue()


GOLDEN: dict[str, Generator] = {
    "golden: 16,000 images": golden(lambda a: repeated(a, 1000), compressed=True),
    "golden: 256 MiB of zeros": golden(
        lambda a: {**a, "images": np.zeros((1 << 26,), np.float32)}, compressed=True
    ),
    "golden: another array": golden(lambda a: {**a, "more": np.zeros(3)}),
    "golden: objects": golden(lambda a: {**a, "labels": np.array([None] * 16)}),
    "golden: 20,000 members": with_file("golden.npz", many_members),
    "golden: a header that lies": with_file("golden.npz", lying_header),
    "golden: no archive": with_file("golden.npz", lambda *_: b"no archive"),
}
