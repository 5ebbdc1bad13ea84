"""The recipe's sections of the three training stages, a sentence per field."""

from dataclasses import dataclass

from eed_edge.recipe.recipe_section import RecipeSection
from eed_edge.recipe.recipe_section import choice as _choice
from eed_edge.recipe.recipe_section import number as _number


@dataclass(frozen=True, kw_only=True)
class Training(RecipeSection):
    """Adversarial training, as the base, each candidate and the joint stage share it."""

    epochs: int = _number(10, 1, 10_000)
    attack: str = "n-fgsm"
    """How training images are attacked: a key of ``attacks.registry.TRAINING_ATTACKS``; ``none`` trains on
    clean images and judges epochs on them. ``none`` in all three stages makes a run without attacks."""
    finish_epochs: int = _number(0, 0, 10_000)
    """The last epochs of these train with ``pgd``, whatever ``attack`` says."""
    eps_255: float = _number(8.0, 0, 255)
    """Radius of the l_inf ball in 1/255; pool and joint take the base's unless they say otherwise."""
    eps_warmup: float = _number(0.0, 0, 1)
    """Share of the training over which the radius rises linearly from 0 to ``eps_255``."""
    steps: int = _number(10, 1, 1000)
    """Steps of ``pgd`` in training."""
    step_255: float = _number(2.0, 0, 255)
    """Step size of ``pgd`` in 1/255."""
    batch: int = _number(128, 2, 65_536)
    lr: float = _number(0.1, 1e-8, 100)
    """Peak learning rate."""
    schedule: str = _choice("onecycle", "onecycle", "cosine", "step", "constant", "wsd")
    """onecycle: up for a fifth, down to 0; cosine: down to 0; step: by ``factors`` at ``drops``; wsd
    (warm-up, stable, decay): full until ``patience`` ends or for 4/5, then to 0 over 1/4 of those so far."""
    drops: tuple[float, ...] = (0.5, 0.75)
    """Shares of the training after which ``step`` goes on to its next factor."""
    factors: tuple[float, ...] = (0.1, 0.01)
    """What ``step`` multiplies ``lr`` by after each drop."""
    momentum: float = _number(0.9, 0, 0.9999)
    weight_decay: float = _number(5e-4, 0, 1)
    clip: float = _number(0.0, 0)
    """Gradients of a larger norm are scaled down to this; 0 leaves them."""
    label_smoothing: float = _number(0.1, 0, 0.9)
    averaging: float = _number(0.995, 0, 0.999999)
    """Decay per step of the weight average that is judged and kept; 0 keeps the plain weights."""
    judge_steps: int = _number(10, 1, 1000)
    """PGD steps of the attack on tune that chooses the best epoch."""
    judge_images: int = _number(1000, 1)
    """At most this many tune images are judged after an epoch."""
    patience: int = _number(0, 0)
    """Stop after this many epochs without a gain on tune, or with ``wsd`` begin the decay; 0 never does."""
    guard: float = _number(0.5, 0, 1)
    """Attacked accuracy alone below this share of the best: go back, train on with PGD; 0 is off."""

    @property
    def attacked(self) -> bool:
        """Whether any epoch trains under attack."""
        return self.attack != "none" or self.finish_epochs > 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.drops) != len(self.factors) or not 0 < min(self.factors, default=1) <= 1e3:
            raise ValueError(
                f"factors: expected a positive one for each of {len(self.drops)} drops,"
                f" got {list(self.factors)}"
            )
        if list(self.drops) != sorted(set(self.drops)) or not all(0 < at < 1 for at in self.drops):
            raise ValueError(f"drops: expected rising shares between 0 and 1, got {list(self.drops)}")
        if 0 < self.epochs < self.finish_epochs:
            raise ValueError(
                f"finish_epochs: expected at most {self.epochs} epochs, got {self.finish_epochs}"
            )


@dataclass(frozen=True, kw_only=True)
class Base(Training):
    """Training of the base network."""

    epochs: int = _number(10, 0, 10_000)
    """0 takes the weights of ``init`` as the base, untrained; ``finish_epochs`` is not used then."""
    init: str = ""
    """Pretrained weights to start from: a checkpoint of ours, or a state dict (.pt, .pth, .safetensors)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.epochs and not self.init:
            raise ValueError("epochs: expected at least 1 without base.init, got 0; set base.init to weights")


@dataclass(frozen=True, kw_only=True)
class Distilled(Training):
    """Training that learns from the base's answers, too."""

    distill: float = _number(0.5, 0, 1)
    """Share of the loss that is the divergence from the base's answer to the clean image."""
    soft_labels: str = _choice("each", "each", "once")
    """each: the base answers every image as it is shifted and mirrored for this step; once: it answers each
    image and its mirror before training starts, which saves a pass of the base in each step."""


@dataclass(frozen=True, kw_only=True)
class Pool(Distilled):
    """Fine-tuning of each pruned candidate."""

    epochs: int = _number(4, 1, 10_000)
    subsets: int = _number(3, 1, 64)
    """Data subsets; with the four scores this gives 12 candidates."""
    shared: float = _number(0.25, 0, 1)
    """Share of the training images that is in every subset of a score."""
    shared_by: str = _choice("score", "score", "all")
    """score: each score shuffles the images anew, and with them those in all its subsets; all: the shuffle is
    the same for all scores, and so are the shared images."""


@dataclass(frozen=True, kw_only=True)
class Joint(Distilled):
    """Joint training of the selected members (eq. 14-19)."""

    epochs: int = _number(4, 1, 10_000)
    clip: float = _number(10.0, 0)
    distill: float = _number(0.0, 0, 1)
    """Share of the cross-entropies replaced by the divergence from a teacher's answer to the clean image."""
    teacher: str = _choice("base", "base", "team")
    """Whose answer that is, where ``distill`` is above 0: the base's, or the team's own mean (NEO-KD)."""
    prefixes: float = _number(0.0, 0, 1)
    """Share of cross-entropies and divergences that is taken on the means of the first t members, for each t,
    instead of on each member; these means are the team's answers when it stops after t."""
    alpha: float = _number(2.0, 0)
    """Weight of the entropy of the mean prediction (ADP)."""
    beta: float = _number(0.5, 0)
    """Weight of the diversity of the non-true-class predictions (ADP)."""
    omega: float = _number(10.0, 0)
    """Weight of the loss on examples that the mean misclassifies (eq. 15)."""
    gamma: float = _number(4.0, 0)
    """Weight of the compression loss (eq. 16)."""
    lambda1: float = _number(0.7, 0)
    """Weight of the mean absolute weight inside the compression loss."""
    lambda2: float = _number(0.25, 0)
    """Weight of the smoothed count of active units inside the compression loss."""
    tau: float = _number(0.1, 1e-6)
    """Width of the smoothing: an activation a counts as ``|a| / (|a| + tau)``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.soft_labels == "once" and self.teacher == "team":
            raise ValueError(
                "soft_labels: expected 'each' with teacher 'team', whose answers change, got 'once'"
            )
