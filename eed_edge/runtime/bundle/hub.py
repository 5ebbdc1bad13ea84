"""Bundles on a model hub, ``hf:OWNER/NAME`` or ``hf:OWNER/NAME@REVISION``: fetched by huggingface_hub."""

import logging
import os
import re
from pathlib import Path
from typing import Any

from eed_edge import arguments
from eed_edge.errors import BundleError, DeviceError, EedError, InputError, how_to_install
from eed_edge.manifest import MANIFEST_FILE, parse_manifest
from eed_edge.manifest_bounds import LARGEST_MANIFEST
from eed_edge.runtime.bundle.folder import read_file
from eed_edge.runtime.bundle.limits import DEFAULT_LIMITS, Limits

logger = logging.getLogger(__name__)

_NAME = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def local_path(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> str | os.PathLike[str]:
    """The folder of a bundle on the hub, in huggingface_hub's cache; any other path as it is.

    Only the manifest and what it names are fetched, if their sizes there are those of the manifest. Digests
    are compared when the folder is opened. Where the hub cannot be asked, what the cache has is used.

    Args:
        path: beginning with ``hf:`` for the hub; a revision is a branch, a tag or a commit.
        limits: most that the bundle may ask of the device.

    Raises:
        InputError: it begins with ``hf:`` and does not go on as it should.
        DeviceError: huggingface_hub is not installed.
        BundleError: the hub has no such bundle, or cannot be asked and the cache has none.
    """
    if not isinstance(path, (str, os.PathLike)) or not str(path).startswith("hf:"):
        return path
    match = _NAME.fullmatch(str(path))
    if match is None:
        raise InputError(
            f"expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION, got {arguments.short_repr(str(path))};"
            " write ./hf:… for a folder of that name"
        )
    try:
        import huggingface_hub
    except ImportError as error:
        raise DeviceError(
            f"expected huggingface_hub, which fetches bundles; {how_to_install('hub')}"
        ) from error
    try:
        return _fetched(huggingface_hub, match[1], match[2] or "main", limits)
    except EedError:
        raise
    except Exception as error:  # its versions raise many types, those of two HTTP clients among them
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BundleError(
            f"{path}: expected a bundle on the hub, got: {reason:.160}; check name, revision and network,"
            " or give a local folder"
        ) from error


def _fetched(hub: Any, name: str, revision: str, limits: Limits) -> Path:
    try:
        files = hub.HfApi().model_info(name, revision=revision, files_metadata=True).siblings
    except Exception as error:
        try:
            manifest_path = hub.hf_hub_download(name, MANIFEST_FILE, revision=revision, local_files_only=True)
        except Exception:
            raise error from None
        reason = " ".join(str(error).split()) or type(error).__name__
        logger.warning("the hub cannot be asked for %s (%.80s); its cached files are used", name, reason)
        return Path(manifest_path).parent
    sizes = {one.rfilename: one.size for one in files}
    _compare_size(name, sizes, MANIFEST_FILE, None)
    path = Path(hub.hf_hub_download(name, MANIFEST_FILE, revision=revision))
    manifest = parse_manifest(read_file(path, LARGEST_MANIFEST))
    entries = {entry.file: entry.bytes for entry in manifest.submodels}
    entries |= {file: entry.bytes for file, entry in manifest.files.items()}
    if (together := sum(entries.values())) > limits.bundle_bytes:
        raise BundleError(f"{name}: expected at most {limits.bundle_bytes:,} bytes, got {together:.3g}")
    for file, size in entries.items():
        _compare_size(name, sizes, file, size)
    for file in entries:
        hub.hf_hub_download(name, file, revision=revision)
    return path.parent


def _compare_size(name: str, sizes: dict[str, int | None], file: str, expected: int | None) -> None:
    """Refuse a file that the hub lacks or has in another size; a manifest's size is only bounded."""
    size = sizes.get(file)
    fits = size is not None and (size <= LARGEST_MANIFEST if expected is None else size == expected)
    if not fits:
        size_text = f"at most {LARGEST_MANIFEST}" if expected is None else str(expected)
        raise BundleError(
            f"{name}: expected {file} of {size_text} bytes on the hub, got {size or 'none'};"
            " upload the exported folder again"
        )
