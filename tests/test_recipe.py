"""Recipes: names, overrides, and everything that is refused."""

import pytest

from eed_edge import recipe
from eed_edge.errors import RecipeError


@pytest.mark.parametrize("name", recipe.names())
def test_a_shipped_recipe_survives_a_round_trip(name):
    loaded = recipe.load(name)
    assert loaded.name == name
    assert recipe.from_dict(loaded.as_dict()) == loaded


def test_shipped_recipes_are_found_by_name():
    assert {"digits-resnet18", "cifar10-resnet18-w16"} <= set(recipe.names())


def test_overrides_take_toml_values_and_bare_words():
    words = ["base.epochs=2", "data.flip=false", "data.name=cifar10", 'scores.names=["nis"]', "seed = 7"]
    loaded = recipe.load("digits-resnet18", words)
    assert (loaded.base.epochs, loaded.data.flip, loaded.data.name) == (2, False, "cifar10")
    assert (loaded.scores.names, loaded.seed) == (("nis",), 7)


def test_pool_and_joint_take_the_radius_of_the_base_unless_they_name_their_own():
    loaded = recipe.from_dict({"base": {"eps_255": 4}, "joint": {"eps_255": 2}})
    assert (loaded.pool.eps_255, loaded.joint.eps_255) == (4, 2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("base.epoch=2", "unknown key 'epoch'"),
        ("bases.epochs=2", "unknown key 'bases'"),
        ("base.epochs=0", "expected a number from 1 to 10000, got 0"),
        ("base.lr=nan", "finite number"),
        ("base.epochs=1.5", "expected a whole number"),
        ("data.flip=1", "expected true or false"),
        ("base.attack=fgsm", "expected one of n-fgsm, pgd"),
        ('scores.names=["nis", "nis"]', "none twice"),
        ("scores.names=[]", "one or more"),
        ("data.tune=0.5", "tune \\+ calib"),
        ("base=2", "expected an object"),
        ("base.epochs", "expected KEY=VALUE"),
        ("seed.x=1", "is a value, not a section"),
        ("prune.member_share=2", "from 0.001 to 1"),
    ],
)
def test_a_bad_override_is_refused(override, message):
    with pytest.raises(RecipeError, match=message):
        recipe.load("digits-resnet18", [override, "data.calib=0.4"])


def test_a_file_that_is_no_recipe_is_refused(tmp_path):
    (tmp_path / "broken.toml").write_text("[base\n")
    with pytest.raises(RecipeError, match="expected a TOML file"):
        recipe.load(str(tmp_path / "broken.toml"))
    with pytest.raises(RecipeError, match=r"no recipe 'nowhere'.*digits-resnet18"):
        recipe.load("nowhere")
