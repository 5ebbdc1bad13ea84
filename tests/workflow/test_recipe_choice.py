"""The recipe of a training from Python is the one of the command line, or one for the images."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from eed_edge.errors import NetworkError, RecipeError
from eed_edge.recipe import Recipe, load_recipe
from eed_edge.train.networks.build import build_network
from eed_edge.train.networks.network_objects import register_network
from eed_edge.workflow.recipe_choice import choose_recipe

TINY = Path(__file__).parents[1] / "tiny.toml"
DATA = np.random.default_rng(0).integers(0, 256, (90, 8, 8), dtype=np.uint8), np.arange(90) % 3


def test_names_files_fields_and_recipes_are_the_same_recipe_and_overrides_hold_in_both_forms():
    expected = load_recipe(str(TINY), ["base.epochs=7"])
    fields = load_recipe(str(TINY)).as_dict()
    for form in (TINY, str(TINY), fields, load_recipe(str(TINY))):
        assert choose_recipe(form, None, overrides={"base.epochs": 7}) == expected
        assert choose_recipe(form, None, overrides=["base.epochs=7"]) == expected
        assert choose_recipe(form, None, overrides="base.epochs=7") == expected
        assert choose_recipe(form, None, overrides={"base.epochs": np.int64(7)}) == expected
    assert fields["base"]["epochs"] == 2  # the caller's stays
    assert choose_recipe(None, None) == load_recipe("digits-resnet18")


def test_without_a_recipe_one_is_drafted_for_the_images(tmp_path):
    drafted = choose_recipe(None, DATA)
    assert (drafted.data.name, drafted.data.size) == ("arrays", 16)
    np.savez(tmp_path / "a.npz", images=DATA[0], labels=DATA[1])
    from_file = choose_recipe(None, tmp_path / "a.npz")
    assert from_file.base == drafted.base
    assert from_file.data.name == "npz"


def test_images_in_memory_are_named_in_the_recipe_so_that_no_others_are_taken_for_them():
    assert choose_recipe(Recipe(), DATA).data.name == "arrays"
    assert choose_recipe(Recipe(), "folder").data.name == Recipe().data.name


def test_a_network_is_copied_with_its_weights_and_has_the_same_name_whatever_they_are():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    before = copy.deepcopy(net.state_dict())
    arch = choose_recipe(Recipe(), DATA, network=net).net.arch
    with torch.no_grad():
        net[1].weight.zero_()
    built = build_network(arch, classes=3, channels=1, width=8)
    assert torch.equal(built.body[1].weight, before["1.weight"])
    assert register_network(net) == arch
    assert torch.equal(build_network(arch, classes=3, channels=1, width=8).body[1].weight, net[1].weight)
    assert register_network(nn.Sequential(nn.Flatten(), nn.Linear(4, 2))) != arch


class Uncopied(nn.Linear):
    def __deepcopy__(self, memo):
        raise RuntimeError("not twice")


def test_what_is_no_network_and_what_is_not_there_is_refused():
    with pytest.raises(NetworkError, match=r"expected a torch.nn.Module, got str; give a network"):
        choose_recipe(Recipe(), DATA, network="resnet18")
    with pytest.raises(NetworkError, match="Uncopied cannot be copied: not twice"):
        register_network(Uncopied(2, 2))
    with pytest.raises(
        NetworkError, match=r"'given:Gone-1': this run was trained from Python .* give it again"
    ):
        build_network("given:Gone-1", classes=3, channels=1, width=8)
    with pytest.raises(RecipeError, match=r"base\.epochs\.x: 'epochs' is a value, not a section"):
        choose_recipe({"base": {"epochs": 2}}, None, overrides={"base.epochs.x": 1})
