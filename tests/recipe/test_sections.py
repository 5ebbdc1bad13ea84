"""Recipes: names, overrides, and everything that is refused."""

from pathlib import Path

import pytest

from eed_edge import recipe
from eed_edge.errors import RecipeError


@pytest.mark.parametrize("name", recipe.recipe_names())
def test_a_shipped_recipe_survives_a_round_trip(name):
    loaded = recipe.load_recipe(name)
    assert loaded.name == name
    assert recipe.from_dict(loaded.as_dict()) == loaded


def test_shipped_recipes_are_found_by_name():
    assert {"digits-resnet18", "cifar10-resnet18-w16"} <= set(recipe.recipe_names())


@pytest.mark.parametrize("name", [name for name in recipe.recipe_names() if name.endswith("-paper")])
def test_a_papers_twin_has_what_the_paper_gives(name):
    cfg, ours = recipe.load_recipe(name), recipe.load_recipe(name.removesuffix("-paper"))
    rates = {"cifar10": [0.01, 0.002], "svhn": [0.1, 0.02, 0.004]}[cfg.data.name]
    for stage in (cfg.base, cfg.pool, cfg.joint):
        assert (stage.attack, stage.steps, stage.step_255, stage.eps_255) == ("pgd", 20, 2, 8)
        assert (stage.batch, stage.averaging, stage.finish_epochs) == (512, 0, 0)
        assert [stage.lr, *(stage.lr * factor for factor in stage.factors)] == pytest.approx(rates)
    assert (cfg.pool.subsets, cfg.pool.shared, cfg.scores.names) == (3, 0.25, ("nis", "erm", "ase", "bnsf"))
    assert (cfg.prune.sparsity, cfg.prune.member_share) == (0.8, 0.05)
    assert (cfg.select.rule, cfg.select.rd, cfg.gate.rule) == ("paper", 0.7, "geometric")
    assert (cfg.joint.omega, cfg.joint.gamma, cfg.joint.lambda1, cfg.joint.lambda2) == (10, 4, 0.7, 0.25)
    assert cfg.pool.distill == cfg.joint.distill == 0
    assert (cfg.net, cfg.data) == (ours.net, ours.data)


def test_every_value_of_a_shipped_recipe_is_explained():
    for name in ("cifar10-resnet18", "svhn-vgg16", "cifar10-vgg16-paper", "svhn-resnet18-paper"):
        text = (Path(__file__).parents[2] / "models" / name / "recipe.toml").read_text()
        plain = [line for line in text.splitlines() if " = " in line and "#" not in line]
        assert [line.partition(" ")[0] for line in plain] == ["name", "name"]


def test_overrides_take_toml_values_and_bare_words():
    words = ["base.epochs=2", "data.flip=false", "data.name=cifar10", 'scores.names=["nis"]', "seed = 7"]
    loaded = recipe.load_recipe("digits-resnet18", words)
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
        ("pool.epochs=0", "expected a number from 1 to 10000, got 0"),
        ("base.epochs=0", "epochs: expected at least 1 without base.init, got 0; set base.init"),
        ("net.mean=0.5", "expected a list, got 0.5"),
        ("net.mean=[0.5, 0.4]", "mean and std: expected as many numbers for each, got 2 and 0"),
        ("base.lr=nan", "finite number"),
        ("base.epochs=1.5", "expected a whole number"),
        ("data.flip=1", "expected true or false"),
        ("base.schedule=linear", "expected one of onecycle, cosine, step, constant, wsd, got 'linear'"),
        ('scores.names=["nis", "nis"]', "none twice"),
        ("scores.names=[]", "one score or more"),
        ("data.tune=0.5", "tune \\+ calib"),
        ("base=2", "expected an object"),
        ("base.epochs", "expected KEY=VALUE"),
        ("seed.x=1", "is a value, not a section"),
        ("prune.member_share=2", "from 0.001 to 1"),
        ("base.finish_epochs=11", "finish_epochs: expected at most 10 epochs, got 11"),
        ("base.factors=[0.1]", "factors: expected a positive one for each of 2 drops"),
        ("base.factors=[0.1, 0.0]", "factors: expected a positive one"),
        ("base.drops=[0.7, 0.5]", "drops: expected rising shares between 0 and 1"),
        ("base.drops=[0.5, 1.0]", "drops: expected rising shares"),
    ],
)
def test_a_bad_override_is_refused(override, message):
    with pytest.raises(RecipeError, match=message):
        recipe.load_recipe("digits-resnet18", [override, "data.calib=0.4"])


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([123.7], [58.4], r"mean: expected means of images in \[0, 1\], got \[123.7\]; divide by 255"),
        ([0.5], [0.0], r"std: expected positive numbers, got \[0.0\]"),
        ([0.5, 0.5], [0.2, -0.2], "std: expected positive numbers"),
        ([float("nan")], [0.5], "finite number"),
    ],
)
def test_a_normalisation_that_no_network_has_is_refused(mean, std, message):
    with pytest.raises(RecipeError, match=message) as caught:
        recipe.from_dict({"net": {"mean": mean, "std": std}})
    assert "\n" not in str(caught.value)


def test_without_epochs_of_the_base_its_finishing_epochs_do_not_count():
    loaded = recipe.load_recipe("cifar10-resnet18", ["base.init=weights.pt", "base.epochs=0"])
    assert (loaded.base.epochs, loaded.base.finish_epochs) == (0, 2)


def test_a_file_that_is_no_recipe_is_refused(tmp_path):
    (tmp_path / "broken.toml").write_text("[base\n")
    with pytest.raises(RecipeError, match="expected a TOML file"):
        recipe.load_recipe(str(tmp_path / "broken.toml"))
    with pytest.raises(RecipeError, match=r"no recipe 'nowhere'.*digits-resnet18"):
        recipe.load_recipe("nowhere")


def test_a_key_of_very_many_parts_is_refused_before_it_is_parsed(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"a" + b".a" * 250_000 + b" = 1")
    with pytest.raises(RecipeError, match="expected a TOML file, got: a key of more than 64 parts"):
        recipe.load_recipe(str(tmp_path / "a.toml"))
