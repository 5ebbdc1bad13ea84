"""The recipe and its sections, a sentence per field; values are checked against what their fields allow."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from eed_edge.recipe.recipe_section import RecipeSection
from eed_edge.recipe.recipe_section import number as _number
from eed_edge.recipe.training_sections import Base, Joint, Pool


@dataclass(frozen=True, kw_only=True)
class Data(RecipeSection):
    """Which images, and how they are split and augmented."""

    name: str = "digits"
    """A data set: a key of ``train.data.splits.DATASETS``."""
    limit: int = _number(0, 0)
    """At most this many images for train, tune and calib together, drawn by seed; 0 takes all."""
    size: int = _number(0, 0, 4096)
    """Pictures become size × size; 0 keeps them as they are (digits: 16)."""
    shorter_side: int = _number(0, 0, 8192)
    """Pictures are scaled until their shorter side has this many pixels, then size × size are cut from the
    middle; 0 scales both sides to size, which stretches pictures that are not square."""
    calib_from: str = ""
    """Folder of classes or NPZ file for tune and calib: pictures that ``base.init`` has not seen."""
    tune: float = _number(0.1, 0.01, 0.5)
    """Share of train that chooses checkpoints, members and their order."""
    calib: float = _number(0.1, 0.01, 0.5)
    """Share of train that sets the gate and nothing else."""
    test: float = _number(0.26, 0.01, 0.9)
    """Share held back for evaluation, of sets that have no test part of their own."""
    flip: bool = True
    """Mirror half of the training images, at random."""
    crop: int = _number(4, 0, 64)
    """Shift training images at random by up to this many pixels, black at the edges."""
    cutout: int = _number(0, 0, 4096)
    """Side in pixels of a random grey square in each training image; 0 for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 < self.shorter_side < max(1, self.size) or (self.shorter_side and not self.size):
            raise ValueError(
                f"shorter_side: expected 0, or data.size (now {self.size}) or more with a data.size above 0,"
                f" got {self.shorter_side}"
            )
        if self.tune + self.calib > 0.8:
            raise ValueError(f"tune + calib: expected at most 0.8 of train, got {self.tune + self.calib:g}")


@dataclass(frozen=True, kw_only=True)
class Net(RecipeSection):
    """The base network."""

    arch: str = "resnet18"
    """``resnet18``, ``resnet18-imagenet`` (stem for 96 pixels or more), ``vgg16``,
    ``package.module:function``, or ``timm:name`` for a network of timm."""
    width: int = _number(64, 1, 4096)
    """Channels of the first stage; networks of timm have their own."""
    mean: tuple[float, ...] = ()
    """Normalisation that the weights were trained with, of images in [0, 1]: one number or one per channel;
    empty takes that of the weights in ``base.init``, or the statistics of the training images without any."""
    std: tuple[float, ...] = ()
    """What images are divided by after ``mean`` has been subtracted; as many numbers as ``mean`` has."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"mean and std: expected as many numbers for each, got {len(self.mean)} and {len(self.std)}"
            )
        if not all(0 <= value <= 1 for value in self.mean):
            raise ValueError(
                f"mean: expected means of images in [0, 1], got {list(self.mean)}; divide by 255"
            )
        if not all(0 < value < float("inf") for value in self.std):
            raise ValueError(f"std: expected positive numbers, got {list(self.std)}")


@dataclass(frozen=True, kw_only=True)
class Scores(RecipeSection):
    """Importance scores and the search that refines them."""

    names: tuple[str, ...] = ("nis", "erm", "ase", "bnsf")
    """Keys of ``prune.importance.SCORES``."""
    images: int = _number(128, 1)
    """Adversarial images from which the ASE score is estimated."""
    search: bool = True
    """Learn scores and per-layer rates under attack (HARP) instead of taking the initial ones."""
    epochs: int = _number(1, 1, 1000)
    lr: float = _number(0.05, 1e-6, 10)
    phi: float = _number(1.0, 0)
    """Weight of the compression target in the search."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"names: expected one score or more, none twice, got {list(self.names)}")


@dataclass(frozen=True, kw_only=True)
class Prune(RecipeSection):
    """How small the members and the team have to be."""

    sparsity: float = _number(0.8, 0.01, 0.999)
    """Share of the base's parameters and of its MACs that the whole team must do without."""
    member_share: float = _number(0.05, 0.001, 1)
    """Share of the base's parameters and of its MACs that one member may have."""
    round_to: int = _number(8, 1, 1024)
    """Pruned widths are multiples of this: onnxruntime's blocks are 8 channels on AVX2, 16 on AVX-512."""
    branches: bool = False
    """Residual branches whose share rounds to no channels go as a whole, and their time with them."""
    latency_table: str = ""
    """File that ``eed-edge profile`` wrote on the device: how long each layer takes at each width."""
    latency_ms: float = _number(0.0, 0)
    """Most milliseconds of a member by the table; with ``member_share = 1`` time alone decides."""
    latency_share: float = _number(0.0, 0, 1)
    """The same as a share of the base's time by the table."""

    def __post_init__(self) -> None:
        super().__post_init__()
        got = (self.latency_table, self.latency_ms, self.latency_share)
        if sum(map(bool, got[1:])) != bool(got[0]):
            raise ValueError(f"latency_table, latency_ms, latency_share: the first with one other, got {got}")


@dataclass(frozen=True, kw_only=True)
class Select(RecipeSection):
    """How the team is chosen from the pool."""

    rule: str = "robust"
    """A key of ``select.selection.RULES``."""
    rd: float = _number(0.7, 0, 1)
    """Robust diversity that the ``paper`` rule asks for."""
    member_gap: float = _number(0.05, 0, 1)
    """A candidate further than this below the best one's attacked accuracy is not considered."""
    members: int = _number(0, 0, 16)
    """Size of the team, 1 for a single network; 0 compares teams of all sizes from two on. No more than 16
    candidates are considered."""


@dataclass(frozen=True, kw_only=True)
class Gate(RecipeSection):
    """When the runtime may stop."""

    rule: str = "confidence"
    """A gate rule: a key of ``gate_rules.rule_registry.GATE_RULES``."""
    max_drop: float = _number(0.005, 0, 1)
    """Share of calib images that early stopping may lose, clean and, in a run with attacks, attacked."""
    guarantee: bool = False
    """Hold the upper 95 % bound of that share, not only the share itself, under ``max_drop``."""
    steps: int = _number(20, 1, 1000)
    """PGD steps of the attack on calib, step size a quarter of eps."""


@dataclass(frozen=True, kw_only=True)
class Recipe(RecipeSection):
    """One training run, from images to a calibrated team."""

    name: str = "unnamed"
    seed: int = _number(0, 0, 2**31 - 1)
    data: Data = Data()
    net: Net = Net()
    base: Base = Base()
    pool: Pool = Pool()
    joint: Joint = Joint()
    scores: Scores = Scores()
    prune: Prune = Prune()
    select: Select = Select()
    gate: Gate = Gate()

    def __post_init__(self) -> None:
        super().__post_init__()
        if (got := len(self.scores.names) * self.pool.subsets) < (fewest := self.select.members or 2):
            raise ValueError(f"scores.names, pool.subsets: expected {fewest} or more candidates, got {got}")

    @property
    def attacked(self) -> bool:
        """Whether any stage trains under attack; if none does, all that follows uses clean images."""
        return any(stage.attacked for stage in (self.base, self.pool, self.joint))

    def as_dict(self) -> dict[str, Any]:
        """Plain nested dicts, lists, strings and numbers, as ``from_dict`` takes them."""
        return dict(json.loads(json.dumps(dataclasses.asdict(self))))
