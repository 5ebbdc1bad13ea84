"""Square: random search that needs no gradients, for models whose gradients mislead."""

from dataclasses import dataclass

from eed_edge.attacks.autoattack import AutoAttack


@dataclass(frozen=True)
class Square(AutoAttack):
    """The Square attack of AutoAttack alone, on the images that the model classifies correctly.

    Source:
        Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random
        search", ECCV 2020.
    """

    @property
    def description(self) -> str:
        """One line on the settings."""
        return f"Square, {self.queries} queries"

    def _components(self, classes: int) -> list[str]:
        return ["square"]
