"""Attacks that know the rule: the smooth gate against a plain loop, and a gate that hides its gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from eed_edge.attacks.autoattack import AutoAttack, capture_warnings
from eed_edge.attacks.gradients import margin
from eed_edge.attacks.interface import Threat
from eed_edge.evaluate import accuracy
from eed_edge.evaluate.adaptive import soft_gates
from eed_edge.evaluate.adaptive.mora import Mora
from eed_edge.evaluate.adaptive.soft_rule import Sharpness
from eed_edge.evaluate.adaptive.stop_rule import replay_stop_rule
from eed_edge.evaluate.attack_jobs import build_jobs, run_batch
from eed_edge.evaluate.models_compared import ModelsCompared
from eed_edge.evaluate.suites import find_suite
from eed_edge.gate_rules.agreement_rule import Agreement
from eed_edge.gate_rules.confidence_rule import Confidence
from eed_edge.gate_rules.geometric_rule import Geometric
from eed_edge.manifest import GateParameters, GateSpec
from eed_edge.train.networks.ensemble import Ensemble
from tests.attacks.linear import classifier, exact_linf

SIZE = (1, 12, 12)
GATE = GateSpec("confidence", GateParameters(Confidence(0.4), Agreement(2), Geometric(0.7, 1.0)))


def ensemble(members: int, *, classes: int = 4, scale: float = 0.3) -> Ensemble:
    return Ensemble([classifier(classes, SIZE, seed=i, scale=scale) for i in range(members)]).eval()


def pictures(n: int) -> torch.Tensor:
    return 0.3 + 0.4 * torch.rand(n, *SIZE, generator=torch.Generator().manual_seed(7))


class Rule:
    """The deployed rule, replayed by the runtime on what the members say."""

    def __init__(self, members: Ensemble, gate: GateSpec) -> None:
        self.members, self.rule, self.parameters = members, gate.rule, gate.parameters_of(gate.rule)
        self.max_submodels = gate.max_submodels or len(members.members)

    def __call__(self, images: np.ndarray):
        with torch.no_grad():
            probs = self.members.member_logits(torch.from_numpy(images)).softmax(2).numpy()
        return replay_stop_rule(probs, self)


@pytest.mark.parametrize("rule", ["confidence", "agreement", "geometric"])
@pytest.mark.parametrize("cap", [None, 2])
def test_a_very_sharp_smooth_gate_is_the_rule_itself(rule, cap):
    team, gate, images = ensemble(4), replace(GATE, rule=rule, max_submodels=cap), pictures(60)
    with torch.no_grad():
        smooth = (
            soft_gates.SmoothGate(team, Rule(team, gate), sharpness=Sharpness(1e5, 1e5))(images).exp().numpy()
        )
    hard = Rule(team, gate)(images.numpy())
    if (rule, cap) != ("agreement", 2):  # which is asked from the second on
        assert len(set(hard.submodels_used.tolist())) > 1
    np.testing.assert_allclose(smooth, hard.probs, atol=2e-3)


@pytest.mark.parametrize("rule", ["confidence", "agreement", "geometric"])
def test_the_smooth_gate_gives_probabilities_and_gradients_of_every_member(rule):
    images = pictures(5).requires_grad_(True)
    team = ensemble(3)
    log_probs = soft_gates.SmoothGate(team, Rule(team, replace(GATE, rule=rule)))(images)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(5))
    log_probs[:, 0].sum().backward()
    assert all(member[1].weight.grad.abs().sum() > 0 for member in team.members)


def plain_gate(each, rule, parameters, *, slope=20.0, per_vote=4.0):
    """The smooth gate of one image ``(members, k)`` in probabilities, as a loop in float64."""
    probs = np.exp(each - each.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    sigmoid, left, shares, means = (lambda x: 1 / (1 + np.exp(-x))), 1.0, [], []
    for t in range(1, len(probs) + 1):
        mean = probs[:t].mean(0)
        if rule == "confidence":
            stop = sigmoid(slope * (mean.max() - parameters["threshold"]))
        elif rule == "agreement":
            top = mean.argmax()
            votes = sum(sigmoid(slope * (p[top] - np.delete(p, top).max())) for p in probs[:t])
            stop = sigmoid(per_vote * (votes - parameters["votes"] + 0.5)) if t > 1 else 0.0
        else:
            surprise = (mean * np.log(mean / means[-1])).sum() if t > 1 else 0.0
            stop = mean.max() ** parameters["g"] * np.exp(-parameters["k"] * surprise)
        stop = 1.0 if t == len(probs) else stop
        shares.append(left * stop)
        left *= 1 - stop
        means.append(mean)
    if rule == "geometric":
        shares = np.exp(slope * np.array(shares)) / np.exp(slope * np.array(shares)).sum()
    return np.log(sum(share * mean for share, mean in zip(shares, means, strict=True)))


@pytest.mark.parametrize("rule", ["confidence", "agreement", "geometric"])
def test_in_log_space_the_smooth_gate_is_what_a_plain_loop_in_probabilities_gives(rule):
    team, images = ensemble(4), pictures(30)
    deployed = Rule(team, replace(GATE, rule=rule))
    with torch.no_grad():
        ours = soft_gates.SmoothGate(team, deployed)(images).numpy()
        logits = team.member_logits(images).double().numpy()
    plain = [plain_gate(logits[:, i], rule, deployed.parameters) for i in range(30)]
    np.testing.assert_allclose(ours, plain, atol=2e-4)


@pytest.mark.parametrize("rule", ["confidence", "agreement", "geometric"])
def test_gradients_reach_every_image_however_sure_the_members_are(rule):
    team, images = ensemble(3, scale=1.0), pictures(100).requires_grad_(True)
    for member in team.members:
        member[1].weight.data *= 30
        member[1].bias.data *= 30
    gate = soft_gates.SmoothGate(team, Rule(team, replace(GATE, rule=rule)))
    log_probs = gate(images)
    assert (log_probs.amin(1) < np.log(1e-12)).float().mean() > 0.5  # where a clamp would be flat
    labels = log_probs.argmax(1)
    (gradient,) = torch.autograd.grad(margin(log_probs, labels).sum(), images)
    assert gradient.isfinite().all()
    assert (gradient.abs().flatten(1).amax(1) > 0).all()  # attacks take signs, however small


def test_reweighting_fools_the_mean_where_the_ball_reaches_over_the_tie():
    team, images = ensemble(2), pictures(40)
    team.members[1].load_state_dict(team.members[0].state_dict())  # so the exact distance is known
    with torch.no_grad():
        labels = team(images).argmax(1)
    distance = exact_linf(team.members[0], images, labels)
    eps = distance.quantile(0.6).item()
    attacked, again = (Mora(steps=50)(team, images, labels, Threat(eps, seed=0)) for _ in range(2))
    assert torch.equal(attacked, again)
    assert (attacked - images).abs().max() <= eps + 1e-6
    fooled = team(attacked).argmax(1) != labels
    assert not fooled[distance > eps * 1.001].any()
    assert fooled[distance < eps * 0.9].all()


def test_a_member_far_beyond_the_tie_has_next_to_no_weight():
    sure, near = classifier(2, SIZE, seed=0), classifier(2, SIZE, seed=1)
    sure[1].bias.data += torch.tensor([100.0, 0.0])
    images = pictures(60)[near(pictures(60)).argmax(1) == 0]
    attacked = Mora(steps=5)(
        Ensemble([sure, near]).eval(),
        images,
        torch.zeros(len(images), dtype=torch.long),
        Threat(0.001, seed=0),
    )
    moved = (attacked - images)[((images - 0.5).abs() < 0.49).flatten(1).all(1)].sign().flatten(1)
    uphill = (near[1].weight[1] - near[1].weight[0]).sign()
    assert (moved == uphill).float().mean() > 0.95


class Masked(nn.Module):
    """A gate that answers in log-probabilities rounded so that no gradient comes through."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer = torch.from_numpy(self.rule(images.detach().numpy()).probs).clamp_min(1e-6).log()
        return answer + 0 * images.sum()


@pytest.mark.parametrize("name", ["quick", "standard"])
def test_a_gate_that_hides_its_gradients_fools_autoattack_but_not_the_adaptive_evaluation(name, tmp_path):
    team = ensemble(2)
    team.members[1].load_state_dict(team.members[0].state_dict())  # so the exact distance is known
    rule, images = Rule(team, GATE), pictures(10)
    labels = torch.from_numpy(rule(images.numpy()).labels)
    distance = exact_linf(team.members[0], images, labels)
    eps = float(distance.sort().values[7]) * 1.01  # within reach of 8 of 10 images, of the last one just so

    with capture_warnings():
        plain = AutoAttack(queries=1000)(Masked(rule), images, labels, Threat(eps, 0))
    by_autoattack = (rule(plain.numpy()).labels == labels.numpy()).mean()

    models = ModelsCompared({}, team, rule)
    suite = find_suite(name)
    fewer = {"autoattack": AutoAttack(queries=200)} if name == "standard" else {}  # the adaptive list does it
    todo = build_jobs(models, replace(suite, kinds={**suite.kinds, **fewer}))
    outcomes = run_batch(
        todo, models, images, labels, threat=Threat(eps, 0), folder=tmp_path, step=lambda name: None
    )
    ours = accuracy.adaptive_accuracy(outcomes, todo)
    assert by_autoattack > ours["dynamic"]
    assert ours["dynamic"] == pytest.approx((distance >= eps).float().mean().item())
