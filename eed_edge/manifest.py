"""The bundle's contract: what ``manifest.json`` says, as frozen dataclasses, schema 1."""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Literal

from eed_edge import digest_json
from eed_edge import schema as typed
from eed_edge.digest_json import HEX64
from eed_edge.errors import BundleError

SCHEMA = 1
FILE_NAME = re.compile(r"[A-Za-z0-9._-]+")
MANIFEST_FILE = "manifest.json"
GOLDEN_FILE = "golden.npz"
DENSE_FILE = "dense.onnx"
CASCADE_FILE = "cascade.onnx"
NO_ATTACK = "none"  # ``calibration.attack`` of a gate that was calibrated on clean images alone

Rule = Literal["confidence", "agreement", "geometric"]
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
            _check(side >= 1 and self.resize is None, f"shorter_side must be >= 1 without resize, got {side}")
        for name in ("resize", "crop"):
            size = getattr(self, name)
            _check(size is None or min(size) >= 1, f"{name} must be null or two sizes >= 1, got {size}")


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
        _check(bool(self.name), "name must not be empty")
        _check(min(self.size) >= 1, f"shape must have sizes >= 1, got {list(self.shape)}")
        expected = 3 if self.channels == "RGB" else 1
        _check(
            self.shape[1] == expected,
            f"{self.channels} needs {expected} channels in shape, got {self.shape[1]}",
        )
        _check(self.range == (0.0, 1.0), f"range must be [0, 1], got {list(self.range)}")

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
            _check(getattr(self, name) >= 0, f"{name} must be >= 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class Confidence:
    """Stop when the largest mean probability reaches ``threshold``; above 1 it never stops early."""

    threshold: float

    def __post_init__(self) -> None:
        _check(0 <= self.threshold <= 2, f"threshold must be in [0, 2], got {self.threshold}")


@dataclass(frozen=True)
class Agreement:
    """Stop when ``votes`` sub-models vote for the class that the mean prefers."""

    votes: int

    def __post_init__(self) -> None:
        _check(self.votes >= 1, f"votes must be >= 1, got {self.votes}")


@dataclass(frozen=True)
class Geometric:
    """``q_t = max(m_t)^g * exp(-k * KL(m_t || m_(t-1)))``; 0 from ``g = 1e6`` on: nothing stops early."""

    g: float
    k: float

    def __post_init__(self) -> None:
        _check(self.g >= 0 and self.k >= 0, f"g and k must be >= 0, got {self.g} and {self.k}")


@dataclass(frozen=True)
class GateParameters:
    """The calibrated parameters of every rule."""

    confidence: Confidence
    agreement: Agreement
    geometric: Geometric


@dataclass(frozen=True)
class GateSpec:
    """When to stop: the rule in use, the parameters of all, and the default caps (None: no cap)."""

    rule: Rule
    parameters: GateParameters
    max_submodels: int | None = None
    deadline_ms: float | None = None

    def __post_init__(self) -> None:
        cap, deadline = self.max_submodels, self.deadline_ms
        _check(cap is None or cap >= 1, f"max_submodels must be null or >= 1, got {cap}")
        _check(deadline is None or deadline >= 0, f"deadline_ms must be null or >= 0, got {deadline}")

    def parameters_of(self, rule: str) -> dict[str, float]:
        """Return the parameters of ``rule`` by name."""
        return dataclasses.asdict(getattr(self.parameters, rule))


@dataclass(frozen=True)
class RuleLoss:
    """What one rule lost on the calibration images, as fractions, and the mean count of sub-models run.

    Both under the gate's ``max_submodels``, where it has one.
    """

    lost_clean: float
    lost_attacked: float
    upper_bound: float
    submodels_used: float

    def __post_init__(self) -> None:
        for name in ("lost_clean", "lost_attacked", "upper_bound"):
            _check(0 <= getattr(self, name) <= 1, f"{name} must be in [0, 1], got {getattr(self, name)}")
        _check(self.submodels_used >= 1, f"submodels_used must be >= 1, got {self.submodels_used}")


@dataclass(frozen=True)
class Calibration:
    """How the gate's parameters were chosen and what each rule lost; ``max_drop`` is a fraction.

    Without an attack, ``attack`` is ``NO_ATTACK`` and each ``lost_attacked`` is ``lost_clean``."""

    images: int
    attack: str
    max_drop: float
    guarantee: bool
    confidence: RuleLoss
    agreement: RuleLoss
    geometric: RuleLoss

    def __post_init__(self) -> None:
        _check(self.images >= 0, f"images must be >= 0, got {self.images}")
        _check(0 <= self.max_drop <= 1, f"max_drop must be in [0, 1], got {self.max_drop}")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything a device must know about a bundle; sub-models in running order."""

    digest: str = field(default="", compare=False)
    name: str
    created_by: CreatedBy
    precision: Literal["float32"] = "float32"
    classes: tuple[str, ...]
    input: InputSpec
    submodels: tuple[SubmodelEntry, ...]
    gate: GateSpec
    calibration: Calibration
    files: dict[str, FileEntry]
    metrics: dict[str, float | str] | None = field(default=None, metadata={"optional": True})

    def __post_init__(self) -> None:
        _check(len(self.classes) >= 2, f"classes must name at least 2, got {len(self.classes)}")
        _check(len(set(self.classes)) == len(self.classes), "classes must differ from each other")
        count = len(self.submodels)
        _check(count >= 1, "submodels must not be empty")
        votes = self.gate.parameters.agreement.votes
        _check(votes <= count, f"gate.parameters.agreement.votes must be at most {count}, got {votes}")
        for name in self.files:
            _check_name(name)
        names = [entry.file for entry in self.submodels] + list(self.files)
        _check(len({name.casefold() for name in names}) == len(names), "a file is named twice")
        _check(GOLDEN_FILE in self.files, f"files lacks {GOLDEN_FILE}")


def parse_manifest(raw: bytes) -> Manifest:
    """Read ``manifest.json``, taking nothing on trust.

    Raises:
        BundleError: not JSON, unknown, missing or duplicate keys, a value of another type or out of
            range, a schema newer than this program reads, or a digest that does not match.
    """
    try:
        content = digest_json.decode(raw)
        schema = content.pop("schema", None)
        if type(schema) is int and schema > SCHEMA:
            raise BundleError(
                f"{MANIFEST_FILE} has schema {schema}, expected at most {SCHEMA}; install a newer eed-edge"
            )
        if type(schema) is not int or schema != SCHEMA:
            raise ValueError(f"schema: expected {SCHEMA}, got {schema!r:.60}")
        digest_json.check_seal(raw, content)
        return typed.read_typed(Manifest, content, "content")
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
        content = dataclasses.asdict(typed.read_typed(Manifest, plain, "manifest"))
        for owner, key in ((content, "metrics"), (content["input"]["preprocess"], "shorter_side")):
            if owner[key] is None:
                del owner[key]
        return digest_json.seal({"schema": SCHEMA, **content})
    except (TypeError, ValueError) as error:
        raise BundleError(f"cannot write {MANIFEST_FILE}: {error}; correct the value") from error


def _check_name(name: str) -> None:
    usable = FILE_NAME.fullmatch(name) and name not in (".", "..", MANIFEST_FILE)
    _check(bool(usable), f"file name {name!r:.80} must match {FILE_NAME.pattern} and not be {MANIFEST_FILE}")


def _check_file(entry: FileEntry | SubmodelEntry) -> None:
    _check(bool(HEX64.fullmatch(entry.sha256)), f"sha256 must be 64 hex digits, got {entry.sha256!r:.80}")
    _check(entry.bytes >= 0, f"bytes must be >= 0, got {entry.bytes}")


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise BundleError(message)
