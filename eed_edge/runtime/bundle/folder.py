"""Open a bundle folder: parse the manifest, verify every file, then use exactly the verified bytes."""

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from eed_edge import arguments
from eed_edge.errors import BundleError, InputError
from eed_edge.files.regular_files import open_regular
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.manifest import (
    CASCADE_FILE,
    MANIFEST_FILE,
    FileEntry,
    Manifest,
    SubmodelEntry,
    parse_manifest,
)
from eed_edge.manifest_bounds import LARGEST_MANIFEST
from eed_edge.printable import to_copy
from eed_edge.runtime.bundle.admit import admit_all
from eed_edge.runtime.bundle.limits import DEFAULT_LIMITS, Limits
from eed_edge.runtime.bundle.signature import check_digests
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.engine.session import DEFAULT, SessionConfig, check_signature, open_session
from eed_edge.runtime.engine.single_image import Submodel

logger = logging.getLogger(__name__)

_PIECE = 2**20  # bytes hashed at a time
_DESKTOP_NAMES = (".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX")
CARD_FILE = "README.md"
UNREAD_NAMES = (CARD_FILE, "LICENSE", ".gitattributes", ".git", ".cache")
"""What a model hub and its tools keep beside a bundle's files; nothing of it is ever opened."""


def load_bundle(
    folder: str | os.PathLike[str],
    *,
    rule: str | None = None,
    threshold: float | None = None,
    max_submodels: int | None = None,
    deadline_ms: float | None = None,
    config: SessionConfig = DEFAULT,
    limits: Limits = DEFAULT_LIMITS,
    trusted_key: str | os.PathLike[str] | None = None,
) -> Cascade:
    """Verify every file of a bundle and load it.

    Args:
        rule: ``confidence``, ``agreement`` or ``geometric``; None: the manifest's.
        threshold: a confidence threshold, or a number of votes; None: the calibrated one.
        max_submodels: at most this many run for an image; None: the manifest's cap.
        deadline_ms: time for one call, ``math.inf`` for none; None: the manifest's.
        config: options of every session.
        limits: most that the bundle may ask of the device.
        trusted_key: PEM file of the public key whose signature ``BUNDLE.sig`` must be; None asks for none.

    Raises:
        BundleError: damaged, incomplete, of a newer schema, beyond ``limits``, or not usable by onnxruntime.
        InputError: an argument of another type or out of range.
        DeviceError: onnxruntime is missing or too old, or a provider is not available.
    """
    bundle = open_bundle(folder, limits=limits, trusted_key=trusted_key)
    manifest = bundle.manifest
    rule = manifest.gate.rule if rule is None else rule
    parameters = _parameters(manifest, rule, threshold)
    cap = _cap(max_submodels, manifest)
    deadline_ms = arguments.deadline(manifest.gate.deadline_ms if deadline_ms is None else deadline_ms)
    models = [bundle.read(entry.file) for entry in manifest.submodels]
    for name in manifest.files:
        bundle.verify(name)
    submodels, names = [], [entry.file for entry in manifest.submodels]
    for name, model in zip(names, admit_all(models, names, limits=limits), strict=True):
        session = open_session(model, name, config=config)
        submodels.append(Submodel(session, check_signature(session, name, manifest)))
    return Cascade(
        manifest, submodels, rule=rule, parameters=parameters, max_submodels=cap, deadline_ms=deadline_ms
    )


@dataclass(frozen=True)
class Bundle:
    """A bundle folder with a valid manifest and the listed files; their contents are not verified yet."""

    folder: Path
    manifest: Manifest

    def read(self, name: str) -> bytes:
        """Read and verify one file.

        Raises:
            BundleError: size or hash differ from the manifest's.
        """
        with _open(self.folder / name) as stream:
            entry = self._entry(name, stream.fileno())
            data = stream.read(entry.bytes + 1)
        _compare(name, entry, len(data), hashlib.sha256(data).hexdigest())
        return data

    def verify(self, name: str) -> None:
        """Verify one file without loading it into memory; errors as in ``read``."""
        with _open(self.folder / name) as stream:
            entry = self._entry(name, stream.fileno())
            digest, size = hashlib.sha256(), 0
            while piece := stream.read(_PIECE):
                digest.update(piece)
                size += len(piece)
        _compare(name, entry, size, digest.hexdigest())

    def _entry(self, name: str, descriptor: int) -> FileEntry | SubmodelEntry:
        """Return the manifest's entry of a file, after comparing the size of the open file with it."""
        entries = {entry.file: entry for entry in self.manifest.submodels}
        entry = entries[name] if name in entries else self.manifest.files[name]
        size = os.fstat(descriptor).st_size
        if size != entry.bytes:
            raise BundleError(
                f"{name}: expected {entry.bytes} bytes, got {size}; copy or export the bundle again"
            )
        return entry


def open_bundle(
    folder: str | os.PathLike[str],
    *,
    limits: Limits = DEFAULT_LIMITS,
    trusted_key: str | os.PathLike[str] | None = None,
) -> Bundle:
    """Read the manifest and compare its list of files with the folder.

    Links to files are followed, since every file's digest is compared. ``UNREAD_NAMES``, files of a desktop,
    such as ``.DS_Store``, and folders whose name begins with two dots, as Kubernetes lays them beside its
    links, are passed over.

    Raises:
        BundleError: no such folder, a manifest that ``parse_manifest`` rejects, a missing or extra
            file, an entry that is neither a file nor a link to one, or files larger than ``limits``.
        InputError: ``folder`` is not a path.
    """
    folder = arguments.to_path(folder)
    try:
        kinds = {entry.name: entry.is_file() for entry in os.scandir(folder) if not _passed_over(entry)}
    except NotADirectoryError as error:
        raise BundleError(
            f"expected a bundle folder, got the file {folder}; name the folder with its {MANIFEST_FILE}:"
            f" a {CASCADE_FILE} alone can only be loaded and run"
        ) from error
    except OSError as error:
        raise BundleError(
            f"expected a bundle folder, cannot open {folder}: {error.strerror}; check the path"
        ) from error
    if MANIFEST_FILE not in kinds:
        advice = "check the path or export again"
        if "run.json" in kinds:
            advice = f"it is a run, {to_copy('export', folder, 'BUNDLE')} makes a bundle of it"
        raise BundleError(f"expected a bundle, {folder} has no {MANIFEST_FILE}; {advice}")
    if not_plain := sorted(name for name, plain in kinds.items() if not plain):
        raise BundleError(
            f"expected files only, {not_plain[0]!r:.80} is neither a file nor a link to one;"
            " copy or export again"
        )
    with _open(folder / MANIFEST_FILE) as stream:
        raw = stream.read(LARGEST_MANIFEST + 1)
    if len(raw) > LARGEST_MANIFEST:
        raise BundleError(
            f"{MANIFEST_FILE}: expected at most {LARGEST_MANIFEST} bytes; export the bundle again"
        )
    manifest = parse_manifest(raw)
    named = {entry.file for entry in manifest.submodels} | set(manifest.files) | {MANIFEST_FILE}
    if missing := sorted(named - kinds.keys()):
        raise BundleError(f"the bundle lacks {missing[0]}, which its manifest names; copy or export it again")
    if extra := sorted(kinds.keys() - named):
        raise BundleError(f"the bundle has {extra[0]!r:.80}, which its manifest does not name; remove it")
    _check_sizes(manifest, limits)
    if trusted_key is not None:
        entries = {entry.file: entry.sha256 for entry in manifest.submodels}
        entries |= {name: entry.sha256 for name, entry in manifest.files.items()}
        check_digests(folder, trusted_key, {**entries, MANIFEST_FILE: hashlib.sha256(raw).hexdigest()})
    return Bundle(folder, manifest)


def _passed_over(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of the folder is harmless and no part of the bundle."""
    if entry.name in UNREAD_NAMES or (entry.name.startswith("..") and entry.is_dir()):
        return True
    if entry.name in _DESKTOP_NAMES or entry.name.startswith("._"):
        logger.warning("%r, which a desktop leaves in folders, is passed over", entry.name[:80])
        return True
    return False


def _check_sizes(manifest: Manifest, limits: Limits) -> None:
    """Refuse files that are too large to be read at all."""
    sizes = {entry.file: entry.bytes for entry in manifest.submodels}
    sizes |= {name: entry.bytes for name, entry in manifest.files.items()}
    name, largest = max(sizes.items(), key=lambda item: item[1])
    if largest > limits.model_bytes:
        raise BundleError(
            f"{name}: expected at most {limits.model_bytes:,} bytes, got {largest:.3g};"
            " export smaller models, or load with larger limits"
        )
    if (together := sum(sizes.values())) > limits.bundle_bytes:
        raise BundleError(
            f"expected a bundle of at most {limits.bundle_bytes:,} bytes, got {together:.3g};"
            " export smaller models, or load with larger limits"
        )


def read_file(path: Path, most: int) -> bytes:
    """Read a file of at most ``most`` bytes.

    Raises:
        BundleError: it cannot be opened, is not a file or a link to one, or is larger.
    """
    with _open(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > most:
            raise BundleError(
                f"{path.name}: expected at most {most:,} bytes, got {size:,}; load with larger limits"
            )
        return stream.read(most + 1)[:most]


def _open(path: Path) -> BinaryIO:
    """Open a regular file or a link to one; do not block on pipes."""
    try:
        return open_regular(path)
    except OSError as error:
        raise BundleError(
            f"{path.name}: cannot be opened: {error.strerror}; copy the bundle again"
        ) from error


def _compare(name: str, entry: FileEntry | SubmodelEntry, size: int, sha256: str) -> None:
    if (size, sha256) != (entry.bytes, entry.sha256):
        raise BundleError(
            f"{name}: expected SHA-256 {entry.sha256[:16]}…, got {sha256[:16]}…; copy the bundle again"
        )


def _parameters(manifest: Manifest, rule: str, threshold: float | None) -> dict[str, float]:
    """Return the parameters of ``rule``: the calibrated ones, or those of the caller's threshold."""
    if not isinstance(rule, str) or rule not in GATE_RULES:
        raise InputError(
            f"expected a rule out of {', '.join(GATE_RULES)}, got {arguments.short_repr(rule)};"
            " name one of these"
        )
    if threshold is None:
        return manifest.gate.parameters_of(rule)
    return GATE_RULES[rule].parameters_from_threshold(threshold, len(manifest.submodels))


def _cap(max_submodels: int | None, manifest: Manifest) -> int:
    members = len(manifest.submodels)
    cap = manifest.gate.max_submodels if max_submodels is None else max_submodels
    if cap is None:
        return members
    cap = arguments.positive_int("max_submodels", cap, advice="the first sub-model always runs")
    if cap > members:
        logger.warning("the bundle has %d sub-models: max_submodels %d is no limit", members, cap)
    return min(cap, members)
