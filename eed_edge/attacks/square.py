"""Square: random search by answers alone, for models whose gradients say nothing."""

from dataclasses import dataclass

from eed_edge.attacks.autoattack import AutoAttack


@dataclass(frozen=True)
class Square(AutoAttack):
    """The Square attack of AutoAttack alone, on the images that the model answers rightly.

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
