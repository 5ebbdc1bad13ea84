"""Every loss term against a plain slow version, and its gradient against finite differences."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eed_edge.recipe import Joint
from eed_edge.train import losses
from eed_edge.train.joint import joint_loss, loss_notes, teacher_logits
from eed_edge.train.networks.ensemble import Ensemble, recorded_activations

LABELS = torch.tensor([0, 2, 1, 3])


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def slow_entropy(probs: np.ndarray) -> float:
    mean = probs.mean(0)
    return float(np.mean([sum(p * np.log(p) for p in row) for row in mean]))


def slow_diversity(probs: np.ndarray) -> float:
    values = []
    for j, label in enumerate(LABELS.tolist()):
        rows = [np.delete(member[j], label) for member in probs]
        rows = [row / np.linalg.norm(row) for row in rows]
        gram = np.array([[a @ b for b in rows] for a in rows])
        values.append(-np.log(np.linalg.det(gram + 1e-6 * np.eye(len(rows)))))
    return float(np.mean(values))


def slow_misclassified(probs: np.ndarray) -> float:
    values = []
    for j, label in enumerate(LABELS.tolist()):
        wrong = probs.mean(0)[j].argmax() != label
        strongest = max(np.delete(member[j], label).max() for member in probs)
        values.append(-np.log(1 - strongest) if wrong else 0.0)
    return float(np.mean(values))


CASES = {
    "mean_entropy": (lambda p: losses.mean_entropy(p), slow_entropy),
    "diversity": (lambda p: losses.diversity(p, LABELS), slow_diversity),
    "misclassified": (lambda p: losses.misclassified(p, LABELS), slow_misclassified),
}


@pytest.mark.parametrize("name", CASES)
def test_a_loss_term_equals_its_slow_version(name, logits):
    fast, slow = CASES[name]
    probs = logits.softmax(2)
    assert fast(probs).item() == pytest.approx(slow(probs.numpy()), rel=1e-9)


def test_a_sure_mean_leaves_a_finite_gradient():
    logits = torch.tensor([[[200.0, 0.0, -200.0]]], requires_grad=True)  # float32: the others become 0
    losses.mean_entropy(logits.softmax(2)).backward()
    assert logits.grad.isfinite().all()


def test_members_that_agree_give_a_large_but_finite_diversity_loss_and_gradient():
    one = torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(0))
    logits = one.repeat(4, 1, 1).requires_grad_(True)
    value = losses.diversity(logits.softmax(2), LABELS)
    value.backward()
    assert 30 < value.item() < 50  # -log(4 * 1e-18)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_of_a_loss_term_equals_finite_differences(name, logits):
    fast, _ = CASES[name]
    assert torch.autograd.gradcheck(lambda x: fast(x.softmax(2)), logits.requires_grad_(True))


def test_cross_entropy_is_the_sum_over_members_of_the_mean_over_images(logits):
    log_probs = logits.log_softmax(2).numpy()
    slow = sum(-np.mean([member[j, y] for j, y in enumerate(LABELS.tolist())]) for member in log_probs)
    assert losses.members_cross_entropy(logits, LABELS).item() == pytest.approx(slow)


def test_a_certain_wrong_answer_gives_a_finite_loss():
    probs = torch.zeros(2, 1, 3)
    probs[:, :, 1] = 1
    assert losses.misclassified(probs, torch.tensor([0])).item() == pytest.approx(-np.log(1e-6), rel=0.02)


def test_compression_terms_equal_hand_computed_values():
    assert losses.weight_magnitude([torch.tensor([1.0, -3.0]), torch.tensor([[2.0]])]).item() == 2.0
    activations = [torch.tensor([0.0, 0.1]), torch.tensor([0.3])]
    assert losses.active_units(activations, tau=0.1).item() == pytest.approx((0.25 + 0.75) / 2)


def test_distillation_is_zero_only_for_the_teachers_own_answer(logits):
    teacher = logits[0]
    assert losses.distillation(teacher + 3.0, teacher).item() == pytest.approx(0, abs=1e-12)
    p, q = teacher.softmax(1), logits[1].softmax(1)
    expected = (p * (p / q).log()).sum(1).mean().item()
    assert losses.distillation(logits[1], teacher).item() == pytest.approx(expected)


def test_the_joint_loss_is_the_weighted_sum_of_its_terms():
    members = [nn.Sequential(nn.Conv2d(3, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(2, 5)) for _ in range(2)]
    ensemble, images = Ensemble(members), torch.rand(4, 3, 2, 2)
    with recorded_activations(ensemble) as activations:
        logits = ensemble.member_logits(images)
    cfg = Joint(label_smoothing=0.0)
    total = joint_loss(ensemble, logits, LABELS, activations, teacher=None, cfg=cfg)
    probs = logits.softmax(2)
    expected = (
        losses.members_cross_entropy(logits, LABELS)
        + 2.0 * losses.mean_entropy(probs)
        + 0.5 * losses.diversity(probs, LABELS)
        + 10 * losses.misclassified(probs, LABELS)
        + 4 * 0.7 * losses.weight_magnitude(m.weight for net in members for m in (net[0], net[3]))
        + 4 * 0.25 * losses.active_units(activations, tau=0.1)
    )
    assert len(activations) == 2
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)


def test_prefix_log_means_are_what_the_prefixes_of_the_ensemble_answer():
    members = [nn.Sequential(nn.Flatten(), nn.Linear(12, 5)) for _ in range(3)]
    ensemble, images = Ensemble(members), torch.rand(4, 3, 2, 2)
    means = losses.prefix_log_means(ensemble.member_logits(images))
    for t in (1, 2, 3):
        assert torch.allclose(means[t - 1], ensemble.prefix(t)(images), atol=1e-6)


def test_the_joint_loss_takes_its_share_on_prefixes_and_follows_the_teams_own_clean_answer():
    members = [nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 5)) for _ in range(2)]
    ensemble, images, attacked = Ensemble(members), torch.rand(4, 3, 2, 2), torch.rand(4, 3, 2, 2)
    logits = ensemble.member_logits(attacked)
    statistics = members[0][0].running_mean.clone()
    off = {"alpha": 0.0, "beta": 0.0, "omega": 0.0, "gamma": 0.0, "label_smoothing": 0.0}
    cfg = Joint(**off, distill=0.25, teacher="team", prefixes=0.4)
    teacher = teacher_logits(ensemble, nn.Identity(), images, cfg)
    total = joint_loss(ensemble, logits, LABELS, [], teacher=teacher, cfg=cfg)
    assert ensemble.training
    assert torch.equal(members[0][0].running_mean, statistics)
    assert torch.allclose(teacher, ensemble.eval()(images))
    teacher = teacher.detach()
    expected = 0.0
    for share, answers in ((0.6, logits), (0.4, losses.prefix_log_means(logits))):
        followed = sum(losses.distillation(each, teacher) for each in answers)
        expected += share * (0.75 * losses.members_cross_entropy(answers, LABELS) + 0.25 * followed)
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_ensembles_logits_are_the_log_of_the_mean_probabilities():
    members = [nn.Sequential(nn.Flatten(), nn.Linear(12, 5)) for _ in range(3)]
    ensemble, images = Ensemble(members), torch.rand(4, 3, 2, 2)
    mean = torch.stack([member(images).softmax(1) for member in members]).mean(0)
    assert torch.allclose(ensemble(images).exp(), mean, atol=1e-6)
    assert torch.allclose(ensemble.prefix(1)(images).exp(), members[0](images).softmax(1), atol=1e-6)


@pytest.mark.parametrize(("members", "classes", "off"), [(3, 4, False), (4, 4, True), (1, 4, True)])
def test_diversity_is_switched_off_with_a_note_when_its_matrix_is_singular(members, classes, off):
    notes = loss_notes(Joint(), Ensemble([nn.ReLU() for _ in range(members)]), classes=classes)
    assert [note.startswith("diversity term off") for note in notes] == [True] * off


def test_a_team_without_activation_modules_gets_a_note_and_one_with_any_of_them_none():
    class Functional(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.relu()

    blind = Ensemble([Functional(), nn.Sequential(Functional())])
    assert ["activation term off" in note for note in loss_notes(Joint(), blind, classes=4)] == [True]
    assert (
        loss_notes(Joint(lambda2=0), blind, classes=4) == loss_notes(Joint(gamma=0), blind, classes=4) == []
    )
    for kind in (nn.PReLU, nn.Mish, nn.Tanh, nn.GELU):
        team = Ensemble([nn.Sequential(nn.Flatten(), kind()) for _ in range(2)])
        with recorded_activations(team) as seen:
            team.member_logits(torch.rand(1, 3, 2, 2))
        assert (len(seen), loss_notes(Joint(), team, classes=4)) == (2, [])
