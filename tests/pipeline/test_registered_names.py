"""Names that no registry has are refused before anything is trained."""

import pytest

from eed_edge import pipeline, recipe
from eed_edge.attacks.registry import TRAINING_ATTACKS
from eed_edge.errors import RecipeError
from eed_edge.gate_rules.rule_registry import GATE_RULES
from eed_edge.pipeline.registered_names import check_registered_names
from eed_edge.prune.importance import SCORES
from eed_edge.train.context import TrainingContext
from tests.conftest import TINY


@pytest.mark.parametrize("name", recipe.recipe_names())
def test_every_name_of_a_shipped_recipe_is_in_its_registry(name):
    check_registered_names(recipe.load_recipe(name))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "base.attack=fgsm",
            f"base.attack: expected one of {', '.join(TRAINING_ATTACKS)}, got 'fgsm'"
            " (did you mean 'n-fgsm'?)",
        ),
        (
            "joint.attack=apgd",
            f"joint.attack: expected one of {', '.join(TRAINING_ATTACKS)}, got 'apgd' (did you mean 'pgd'?)",
        ),
        ('scores.names=["nis", "l1"]', f"scores.names: expected one of {', '.join(SCORES)}, got 'l1'"),
        ("select.rule=best", "select.rule: expected one of paper, robust, got 'best'"),
        ("gate.rule=vote", f"gate.rule: expected one of {', '.join(GATE_RULES)}, got 'vote'"),
    ],
)
def test_a_name_that_no_registry_has_is_refused_and_no_run_is_made(override, message, tmp_path):
    with pytest.raises(RecipeError) as refused:
        pipeline.train(
            recipe.load_recipe(str(TINY), [override]), None, tmp_path / "run", context=TrainingContext()
        )
    assert str(refused.value) == message
    assert not (tmp_path / "run").exists()
