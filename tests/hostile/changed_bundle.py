"""A bundle with one part made anew, and right hashes."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from eed_edge import digest_json
from eed_edge import manifest as contract

Generator = Callable[[Path, Path], None]
"""Writes a hostile bundle into a new folder, from the folder of a good one."""


def read(folder: Path) -> contract.Manifest:
    return contract.parse_manifest((folder / "manifest.json").read_bytes())


def entry(path: Path) -> dict[str, str | int]:
    with path.open("rb") as stream:
        size = path.stat().st_size
        digest = hashlib.file_digest(stream, "sha256").hexdigest() if size < 2**31 else "0" * 63 + "1"
    return {"sha256": digest, "bytes": size}


def seal(folder: Path) -> None:
    """Write the manifest again with the sizes and hashes of the files that are there."""
    manifest = read(folder)
    submodels = [dataclasses.replace(one, **entry(folder / one.file)) for one in manifest.submodels]
    files = {name: contract.FileEntry(**entry(folder / name)) for name in manifest.files}
    manifest = dataclasses.replace(manifest, submodels=tuple(submodels), files=files)
    (folder / "manifest.json").write_bytes(contract.dump_manifest(manifest))


def with_file(name: str, make: Callable[[bytes, contract.Manifest], bytes]) -> Generator:
    """A bundle with one file made anew from its bytes, and right hashes."""

    def write(good: Path, folder: Path) -> None:
        shutil.copytree(good, folder)
        path = folder / name
        path.write_bytes(make(path.read_bytes(), read(folder)))
        seal(folder)

    return write


def with_manifest(make: Callable[[dict], dict | bytes]) -> Generator:
    """A bundle with another manifest, sealed where it is an object."""

    def write(good: Path, folder: Path) -> None:
        shutil.copytree(good, folder)
        path = folder / "manifest.json"
        content = make(json.loads(path.read_bytes()))
        path.write_bytes(content if isinstance(content, bytes) else digest_json.seal(content))

    return write
