"""The manifest of a bundle, ``manifest.json``, as frozen dataclasses, schemas 1 and 2."""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Literal

from eed_edge import digest_json
from eed_edge import schema as typed
from eed_edge.digest_json import HEX64
from eed_edge.errors import BundleError
from eed_edge.gate_rules.gate_settings import (
    Abstain,
    Calibration,
    GateParameters,
    GateSpec,
    RuleLoss,
    check_temperatures,
)
from eed_edge.gate_rules.rule_names import Rule
from eed_edge.manifest_bounds import (
    LARGEST_MANIFEST,
    MOST_SUBMODELS,
    check_count,
    check_pixels,
    check_texts,
    require,
)

__all__ = [
    "CASCADE_FILE",
    "DENSE_FILE",
    "DENSE_INT8_FILE",
    "GOLDEN_FILE",
    "MANIFEST_FILE",
    "Abstain",
    "Calibration",
    "CreatedBy",
    "FileEntry",
    "GateParameters",
    "GateSpec",
    "InputSpec",
    "Interpolation",
    "Manifest",
    "Precision",
    "Preprocess",
    "Rule",
    "RuleLoss",
    "SubmodelEntry",
    "dump_manifest",
    "parse_manifest",
]

SCHEMA = 2
"""Since 2: ``precision`` int8, ``temperatures``, ``abstain``, ``shorter_side``, ``thresholds`` of the rule
confidence."""
FILE_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
MANIFEST_FILE = "manifest.json"
GOLDEN_FILE = "golden.npz"
DENSE_FILE = "dense.onnx"
DENSE_INT8_FILE = "dense-int8.onnx"
CASCADE_FILE = "cascade.onnx"
NO_ATTACK = "none"  # ``calibration.attack`` of a gate that was calibrated on clean images alone

Precision = Literal["float32", "int8"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


@dataclass(frozen=True)
class CreatedBy:
    """The program that wrote the bundle."""

    tool: str
    version: str


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the network's input; training and device use the same code.

    shorter_side: pixels that the shorter side is scaled to, the longer one in proportion; None does not.
    resize: ``(height, width)`` to scale to; None keeps the size.
    crop: ``(height, width)`` cut from the middle after resizing; None keeps all.
    interpolation: the filter used for resizing.
    grey: ``luma`` turns RGB into one channel by ITU-R 601, ``repeat`` one grey channel into three.
    alpha: the colour put behind transparent pixels.
    exif: turn the picture as its EXIF orientation says.
    """

    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    interpolation: Interpolation = "bilinear"
    grey: Literal["luma", "repeat"] = "luma"
    alpha: Literal["black", "white"] = "black"
    exif: bool = True
    shorter_side: int | None = field(default=None, metadata={"optional": True})

    def __post_init__(self) -> None:
        if (side := self.shorter_side) is not None:
            alone = side >= 1 and self.resize is None
            require(alone, f"shorter_side must be >= 1 without resize, got {side!s:.60}")
            check_pixels((side, side), "shorter_side")
        for name in ("resize", "crop"):
            size = getattr(self, name)
            require(
                size is None or min(size) >= 1, f"{name} must be null or two sizes >= 1, got {size!s:.60}"
            )
            check_pixels(size, name)


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What the networks take: ``(n, c, h, w)`` float32 in [0, 1]."""

    name: str
    dtype: Literal["float32"] = "float32"
    shape: tuple[Literal["N"], int, int, int]
    layout: Literal["NCHW"] = "NCHW"
    range: tuple[float, float] = (0.0, 1.0)
    channels: Literal["RGB", "L"]
    preprocess: Preprocess

    def __post_init__(self) -> None:
        require(bool(self.name), "name must not be empty")
        require(min(self.size) >= 1, f"shape must have sizes >= 1, got {list(self.shape)}")
        check_pixels(self.size[1:], "shape")
        expected = 3 if self.channels == "RGB" else 1
        require(
            self.shape[1] == expected,
            f"{self.channels} needs {expected} channels in shape, got {self.shape[1]}",
        )
        require(self.range == (0.0, 1.0), f"range must be [0, 1], got {list(self.range)}")

    @property
    def size(self) -> tuple[int, int, int]:
        """``(c, h, w)`` of one image."""
        return self.shape[1:]


@dataclass(frozen=True)
class FileEntry:
    """Size and SHA-256 of one file."""

    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        _check_file(self)


@dataclass(frozen=True)
class SubmodelEntry:
    """One sub-model: its file, its cost and where it came from."""

    file: str
    sha256: str
    bytes: int
    params: int
    macs: int
    importance: str
    subset: int

    def __post_init__(self) -> None:
        _check_name(self.file)
        _check_file(self)
        for name in ("params", "macs", "subset"):
            check_count(getattr(self, name), name)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything a device must know about a bundle; sub-models in running order.

    temperatures: by the prefix that answers, what its probabilities' logarithms are divided by; None: 1.
    abstain: when an answer is to be doubted; None: never.
    """

    digest: str = field(default="", compare=False)
    name: str
    created_by: CreatedBy
    precision: Precision = "float32"
    classes: tuple[str, ...]
    input: InputSpec
    submodels: tuple[SubmodelEntry, ...]
    gate: GateSpec
    calibration: Calibration
    files: dict[str, FileEntry]
    metrics: dict[str, float | str] | None = field(default=None, metadata={"optional": True})
    temperatures: tuple[float, ...] | None = field(default=None, metadata={"optional": True})
    abstain: Abstain | None = field(default=None, metadata={"optional": True})

    def __post_init__(self) -> None:
        require(len(self.classes) >= 2, f"classes must name at least 2, got {len(self.classes)}")
        require(len(set(self.classes)) == len(self.classes), "classes must differ from each other")
        check_texts((self.name, self.input.name, *self.classes))
        count = len(self.submodels)
        require(1 <= count <= MOST_SUBMODELS, f"submodels must be 1 to {MOST_SUBMODELS}, got {count}")
        for parameters in self.gate.parameters.by_rule().values():
            parameters.check_submodels(count)
        check_temperatures(self.temperatures, count)
        for name in self.files:
            _check_name(name)
        names = [entry.file for entry in self.submodels] + list(self.files)
        require(len({name.casefold() for name in names}) == len(names), "a file is named twice")
        require(GOLDEN_FILE in self.files, f"files lacks {GOLDEN_FILE}")


def parse_manifest(raw: bytes) -> Manifest:
    """Read ``manifest.json``, taking nothing on trust.

    Raises:
        BundleError: not JSON, unknown, missing or duplicate keys, a value of another type or out of
            range, a schema newer than this program reads, or a digest that does not match.
    """
    if len(raw) > LARGEST_MANIFEST:
        raise BundleError(
            f"{MANIFEST_FILE}: expected at most {LARGEST_MANIFEST} bytes, got {len(raw)};"
            " export the bundle again"
        )
    try:
        content = digest_json.decode(raw)
        schema = content.pop("schema", None)
        if type(schema) is int and schema > SCHEMA:
            raise BundleError(
                f"{MANIFEST_FILE} has schema {schema}, expected at most {SCHEMA}; install a newer eed-edge"
            )
        if type(schema) is not int or schema < 1:
            raise ValueError(f"schema: expected 1 to {SCHEMA}, got {schema!r:.60}")
        digest_json.check_seal(raw, content)
        manifest = typed.read_typed(Manifest, content, "content")
        if schema == 1 and (newer := _newer_than_schema_1(manifest)):
            raise ValueError(f"schema 1 has no {newer[0]}, expected schema 2")
        return manifest
    except BundleError:
        raise
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise BundleError(
            f"{MANIFEST_FILE}: {reason}; it is damaged, copy or export the bundle again"
        ) from error


def dump_manifest(manifest: Manifest) -> bytes:
    """Write ``manifest`` as JSON with its digest filled in; ``parse`` gives the same manifest back.

    Raises:
        BundleError: a value that ``parse`` would refuse.
    """
    try:
        plain = json.loads(json.dumps(dataclasses.asdict(manifest)))
        content = typed.to_plain(typed.read_typed(Manifest, plain, "manifest"))
        return digest_json.seal({"schema": SCHEMA, **content})
    except (TypeError, ValueError) as error:
        raise BundleError(f"cannot write {MANIFEST_FILE}: {error}; correct the value") from error


def _newer_than_schema_1(manifest: Manifest) -> list[str]:
    """Return what the manifest has that schema 1 could not say."""
    present = {
        "precision int8": manifest.precision != "float32",
        "temperatures": manifest.temperatures is not None,
        "abstain": manifest.abstain is not None,
        "shorter_side": manifest.input.preprocess.shorter_side is not None,
    }
    newer = [name for name, is_there in present.items() if is_there]
    return newer + manifest.gate.parameters.newer_than_schema_1()


def _check_name(name: str) -> None:
    usable = FILE_NAME.fullmatch(name) and name not in (".", "..", MANIFEST_FILE)
    require(bool(usable), f"file name {name!r:.80} must match {FILE_NAME.pattern} and not be {MANIFEST_FILE}")


def _check_file(entry: FileEntry | SubmodelEntry) -> None:
    require(bool(HEX64.fullmatch(entry.sha256)), f"sha256 must be 64 hex digits, got {entry.sha256!r:.80}")
    check_count(entry.bytes, "bytes")
