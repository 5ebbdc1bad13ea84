"""The rule-aware attack: against an exhaustive search, and where all others of the list find nothing."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from eed_edge.attacks.interface import Threat
from eed_edge.evaluate import accuracy
from eed_edge.evaluate.adaptive.rule_aware import RuleAware, _Aim, _objective
from eed_edge.evaluate.adaptive.soft_gates import SmoothGate
from eed_edge.evaluate.adaptive.stop_rule import replay_stop_rule
from eed_edge.evaluate.attack_jobs import build_jobs, run_batch
from eed_edge.evaluate.models_compared import ModelsCompared
from eed_edge.evaluate.suites import find_suite
from eed_edge.runtime.gates.margins import near_ties
from eed_edge.train.networks.ensemble import Ensemble

SIZE = (1, 20, 20)
EPS = 0.1


def line(offsets: list[float], slopes: list[float]) -> nn.Sequential:
    """A network whose logits are ``offset + slope * s``, where s is the mean change from grey, over eps.

    Within the ball of a grey image s covers [-1, 1].
    """
    pixels = math.prod(SIZE)
    layer = nn.Linear(pixels, len(offsets))
    slope = torch.tensor(slopes)[:, None]
    layer.weight.data = (slope / (EPS * pixels)).expand(-1, pixels).clone()
    layer.bias.data = torch.tensor(offsets) - 0.5 / EPS * slope[:, 0]
    return nn.Sequential(nn.Flatten(), layer).eval()


@dataclass
class Deployed:
    """A rule as the runtime has it, on what the members say."""

    team: Ensemble
    rule: str
    parameters: dict[str, float]
    max_submodels: int

    def __call__(self, images: np.ndarray):
        with torch.no_grad():
            probs = self.team.member_logits(torch.from_numpy(images)).softmax(2).numpy()
        return replay_stop_rule(probs, self)


def grey(n: int, spread: float = 0.02) -> torch.Tensor:
    """Images at n places s in ±spread."""
    places = 0.5 + EPS * torch.linspace(-spread, spread, n)
    return places.view(-1, 1, 1, 1).expand(-1, *SIZE).contiguous()


def test_it_fools_a_rule_that_fails_in_a_gap_where_the_rest_of_the_list_finds_nothing(tmp_path):
    """Below s = -0.1 the first member is unsure, above -0.112 both together are wrong; nothing else fails.

    Attacks on the first member run past the gap to where the second one corrects it, those on both stay on
    the side where the first one is sure and right.
    """
    sure, slope = math.log(0.9 / 0.1), 3.0
    first = line([sure + 0.10 * slope, 0.0], [slope, 0.0])
    second = line([-(sure - 0.012 * slope) - 0.112 * 2 * slope, 0.0], [-2 * slope, 0.0])
    team = Ensemble([first, second]).eval()
    rule = Deployed(team, "confidence", {"threshold": 0.9}, 2)
    images, labels = grey(10), torch.zeros(10, dtype=torch.long)
    models = ModelsCompared({}, team, rule)
    todo = build_jobs(models, replace(find_suite("quick"), rule=RuleAware()))
    outcomes = run_batch(
        todo, models, images, labels, threat=Threat(EPS, 0), folder=tmp_path, step=lambda name: None
    )
    adaptive = accuracy.adaptive_accuracy(outcomes, todo)
    assert [item["dynamic"] for item in adaptive["items"][:-1]] == [1.0] * (len(todo) - 2)
    assert adaptive["items"][-1]["dynamic"] == 0.0


CASES = [
    ("confidence", {"threshold": 0.8}),
    ("agreement", {"votes": 2}),
    ("geometric", {"g": 2.0, "k": 1.0}),
]


@pytest.mark.parametrize(("rule", "parameters"), CASES)
@pytest.mark.parametrize("cap", [1, 2, 3])
def test_the_objective_is_positive_exactly_where_the_runtime_answers_wrongly_with_that_prefix(
    rule, parameters, cap
):
    rng, grid = np.random.default_rng(1), grey(500, spread=3.0)
    team = Ensemble([line(rng.normal(0, 1, 3).tolist(), rng.normal(0, 2, 3).tolist()) for _ in range(3)])
    deployed = Deployed(team.eval(), rule, parameters, cap)
    model, labels = SmoothGate(team, deployed).eval(), torch.zeros(len(grid), dtype=torch.long)
    with torch.no_grad():
        log_probs = model.ensemble.member_logits(grid).log_softmax(2)
        probs = team.member_logits(grid).softmax(2).numpy()
    answer = deployed(grid.numpy())
    sure = ~near_ties(probs, rule, parameters, max_submodels=cap, tolerance=1e-4)
    for stop in range(cap):
        positive = _objective(model, log_probs, _Aim(stop, labels, None)).numpy() > 0
        fails = (answer.labels != 0) & (answer.answer_prefix == stop + 1)
        np.testing.assert_array_equal(positive[sure], fails[sure])
    assert 0 < (answer.labels != 0).sum() < len(grid)


@pytest.mark.parametrize(("rule", "parameters"), CASES)
@pytest.mark.parametrize("cap", [2, 3])
def test_on_networks_of_one_variable_it_fools_what_a_fine_grid_fools(rule, parameters, cap):
    rng = np.random.default_rng(3)
    images, grid = grey(21, spread=3.0), grey(4001, spread=4.0)
    places, all_places = (each[:, 0, 0, 0].numpy() for each in (images, grid))
    reachable = np.abs(all_places[None] - places[:, None]) <= EPS * 0.98
    ambiguous = np.abs(all_places[None] - places[:, None]) <= EPS * 1.001
    some = 0
    for _ in range(3):
        team = Ensemble([line(rng.normal(0, 1, 3).tolist(), rng.normal(0, 2, 3).tolist()) for _ in range(3)])
        deployed = Deployed(team.eval(), rule, parameters, cap)
        labels = deployed(images.numpy()).labels
        wrong = deployed(grid.numpy()).labels[None] != labels[:, None]
        attacked = RuleAware(steps=40, restarts=3)(
            SmoothGate(team, deployed).eval(), images, torch.from_numpy(labels), Threat(EPS, 0)
        )
        fooled = deployed(attacked.numpy()).labels != labels
        assert fooled[(wrong & reachable).sum(1) > 20].all()  # 2 % of the ball
        assert not fooled[~(wrong & ambiguous).any(1)].any()
        some += fooled.sum()
    assert 0 < some < 3 * len(images)


def test_what_fools_nothing_comes_back_unchanged_and_a_seed_gives_the_same_images():
    team = Ensemble([line([1.0, 0.0], [2.0, 0.0])]).eval()
    deployed = Deployed(team, "confidence", {"threshold": 0.9}, 1)
    model, images = SmoothGate(team, deployed).eval(), grey(9, spread=2.0)
    labels = torch.from_numpy(deployed(images.numpy()).labels)
    one, two = (RuleAware(steps=10, restarts=1)(model, images, labels, Threat(EPS, 5)) for _ in range(2))
    assert torch.equal(one, two)
    fooled = deployed(one.numpy()).labels != labels.numpy()
    assert 0 < fooled.sum() < len(images)
    assert torch.equal(one[~fooled], images[~fooled])


def test_a_network_without_a_rule_is_refused():
    with pytest.raises(TypeError, match="expected a SmoothGate, got Sequential"):
        RuleAware()(line([0.0, 1.0], [1.0, 0.0]), grey(1), torch.zeros(1, dtype=torch.long), Threat(EPS))
