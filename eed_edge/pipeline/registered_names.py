"""Names of a recipe that stand for an entry of a registry: scores, attacks, selection and gate rules.

The recipe itself cannot check them, because the registries hold code that needs torch.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from eed_edge.attacks.registry import TRAINING_ATTACKS
from eed_edge.errors import RecipeError
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.prune.importance import SCORES
from eed_edge.recipe import Recipe
from eed_edge.select.selection import RULES
from eed_edge.suggestions import expected_one_of


def check_registered_names(recipe: Recipe) -> None:
    """Check that every name is in its registry.

    Raises:
        RecipeError: one is not.
    """
    for field, name, registry in _names(recipe):
        if name not in registry:
            raise RecipeError(f"{field}: {expected_one_of(registry, name)}")


def _names(recipe: Recipe) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Each field's path, a name in it, and the registry that must have it."""
    for stage in ("base", "pool", "joint"):
        yield f"{stage}.attack", getattr(recipe, stage).attack, TRAINING_ATTACKS
    for score in recipe.scores.names:
        yield "scores.names", score, SCORES
    yield "select.rule", recipe.select.rule, RULES
    yield "gate.rule", recipe.gate.rule, GATE_RULES
