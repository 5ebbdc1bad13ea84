"""What each public package exports, and that the examples in its docstrings are true."""

import doctest
import importlib

import pytest

EXPORTS = {
    "eed_edge": "Limits Prediction __version__ compare_shapes evaluate_bundle export_bundle load train_team",
    "eed_edge.runtime": "Limits Prediction load",
    "eed_edge.recipe": (
        "Base Data Distilled Gate Joint Net Pool Prune Recipe RecipeSection Scores "
        "Select Training apply_overrides from_dict load_recipe read_table recipe_names "
        "recipe_of_network set_field"
    ),
    "eed_edge.select": (
        "Criteria Selection TeamBudget all_teams robust_diversity select_team "
        "team_accuracies team_diversities"
    ),
    "eed_edge.pipeline": "STAGES attacked_probs choose_device train",
    "eed_edge.report": "commit machine merge_report read_report wilson wilson_interval",
}
EXAMPLES = (
    "eed_edge.recipe",
    "eed_edge.report.statistics",
    "eed_edge.select.diversity",
    "eed_edge.train.data.images_in_memory",
    "eed_edge.workflow.recipe_choice",
)


@pytest.mark.parametrize("package", EXPORTS)
def test_a_package_exports_these_names_and_they_are_there(package):
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(EXPORTS[package].split())
    assert all(getattr(module, name) is not None for name in module.__all__)


@pytest.mark.parametrize("module", EXAMPLES)
def test_the_examples_in_docstrings_are_true(module):
    result = doctest.testmod(importlib.import_module(module))
    assert (result.failed, result.attempted > 0) == (0, True)
