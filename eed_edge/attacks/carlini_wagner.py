"""C&W in the l_inf ball: the margin loss inside PGD."""

from dataclasses import dataclass

from torch import Tensor

from eed_edge.attacks.gradients import margin
from eed_edge.attacks.pgd import PGD


@dataclass(frozen=True)
class CarliniWagner(PGD):
    """C&W l_inf in the form usual in this field: PGD on the margin loss, 100 steps of eps/10.

    Source:
        Carlini and Wagner, 2017, for the loss; Madry et al., 2018, for its use inside PGD.
    """

    steps: int = 100
    steps_per_eps: float = 10.0

    @property
    def description(self) -> str:
        """One line on the settings."""
        return f"C&W l_inf: margin loss inside PGD, {self._steps_text}, one random start"

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The margin of the largest wrong logit."""
        return margin(logits, labels)
