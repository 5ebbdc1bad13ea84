"""Teams of several sizes at one mean time: sizes, runs, the verdict, what is refused."""

import json

import pytest
from click.testing import CliRunner

from eed_edge import recipe as recipes
from eed_edge.cli.make.shapes import command
from eed_edge.errors import RecipeError
from eed_edge.train.run_folder import open_run
from eed_edge.train.system.time_limit import Paused
from eed_edge.workflow.compare_shapes import compare_shapes, recipe_of_size
from tests.conftest import TINY

SMALL = [
    "base.epochs=1", "joint.epochs=1", 'scores.names=["erm"]', "scores.search=false", "joint.judge_images=20",
    "joint.alpha=0", "joint.beta=0", "joint.omega=0", "joint.gamma=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("shapes") / "out"
    words = [str(TINY), "--out", str(out), "--sizes", "1,2", "--share", "0.45", "--json"]
    for setting in SMALL:
        words += ["--set", setting]
    return out, CliRunner().invoke(command, words, catch_exceptions=False)


def test_every_size_has_a_run_and_the_best_is_named(compared):
    out, result = compared
    rows = json.loads((out / "shapes.json").read_text())["rows"]
    assert [row["members"] for row in rows] == [1, 2]
    assert [len(open_run(out / name).members()) for name in ("1-member", "2-members")] == [1, 2]
    best = max(rows, key=lambda row: (row["attacked"], -row["members"]))["members"]
    figures = json.loads(result.stdout)
    assert figures["best"] == str(out / ("1-member" if best == 1 else "2-members"))
    assert figures["rows"] == rows
    assert f"best on tune: {figures['best']}" in result.stderr


def test_a_team_has_smaller_members_and_no_longer_mean_time_unless_its_first_alone_takes_longer(compared):
    single, team = json.loads((compared[0] / "shapes.json").read_text())["rows"]
    assert team["params"] < 2 * single["params"]
    assert single["mean_ms"] == pytest.approx(single["ms"][0])
    assert team["mean_ms"] <= single["mean_ms"] or team["threshold"] == 0
    assert 1 <= team["submodels_used"] <= 2


def test_all_sizes_have_one_base(compared):
    weights = {
        (compared[0] / name / "base.safetensors").read_bytes() for name in ("base", "1-member", "2-members")
    }
    assert len(weights) == 1


def test_it_stops_in_time_and_goes_on(tmp_path):
    with pytest.raises(Paused):
        compare_shapes(TINY, out=tmp_path, sizes=(1, 2), share=0.4, max_minutes=0)
    assert not list(tmp_path.glob("*/joint.json"))


def test_members_of_a_team_are_two_thirds_of_the_single_network():
    recipe = recipes.load_recipe(str(TINY))
    one, four = (recipe_of_size(recipe, size, share=0.15) for size in (1, 4))
    assert (one.prune.member_share, four.prune.member_share) == pytest.approx((0.15, 0.1))
    assert (1 - one.prune.sparsity, 1 - four.prune.sparsity) == pytest.approx((0.15, 0.4))
    assert (one.select.members, four.select.members) == (1, 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": (2, 3)}, "sizes: expected 1 and others up to the 4 candidates of the pool, got 2, 3"),
        ({"sizes": (1, 5)}, "got 1, 5"),
        ({"sizes": "1,2"}, r"sizes: expected whole numbers such as \(1, 2\), got '1,2'"),
        ({"sizes": 2}, r"sizes: expected whole numbers such as \(1, 2\), got 2"),
        ({"mean_ms": 0.1}, "expected a recipe with prune.latency_table"),
        ({"share": 0.9}, "expected teams smaller than the base, got 4 members of 2.40 of it"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_training(settings, message, tmp_path):
    with pytest.raises(RecipeError, match=message):
        compare_shapes(TINY, out=tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()
