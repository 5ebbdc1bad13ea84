"""Each score against an independent computation: matrix products, a plain walk, loops in numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eed_edge.prune.groups import analyse
from eed_edge.prune.importance import SCORES, LayerScores
from eed_edge.train.networks import build


def scores_of(name: str, net: nn.Module, images: Tensor, labels: Tensor | None = None) -> LayerScores:
    structure = analyse(net, images[:1])
    labels = torch.zeros(len(images), dtype=torch.long) if labels is None else labels
    return SCORES[name](net, structure, images, labels)


def with_statistics(net: nn.Module, seed: int = 0) -> nn.Module:
    """Batch norms with the values of a trained network instead of 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.normal_(generator=generator)
            module.bias.data.normal_(generator=generator)
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return net.eval()


@pytest.fixture
def convolutional() -> nn.Module:
    torch.manual_seed(1)
    return with_statistics(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
            nn.Conv2d(6, 5, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
        )
    )  # fmt: skip


class Residual(nn.Module):
    """A stem, one residual block with a projected shortcut, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.a, self.bn = nn.Conv2d(6, 5, 3, padding=1), nn.BatchNorm2d(5)
        self.b = nn.Conv2d(5, 7, 3, padding=1)
        self.shortcut = nn.Conv2d(6, 7, 1)
        self.out = nn.Linear(7, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.stem(images))
        x = F.relu(self.b(F.relu(self.bn(self.a(x)))) + self.shortcut(x))
        return self.out(x.mean((2, 3)))


def test_nis_of_a_perceptron_is_the_chain_of_absolute_matrix_products():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 4)
    )
    scores = scores_of("nis", net, torch.rand(2, 3, 2, 2)).scores
    last = np.ones(4)
    second = np.abs(net[5].weight.detach().numpy()).T @ last
    first = np.abs(net[3].weight.detach().numpy()).T @ second
    np.testing.assert_allclose(scores["3"], second, rtol=1e-6)
    np.testing.assert_allclose(scores["1"], first, rtol=1e-6)


def test_nis_of_a_residual_network_is_the_walk_from_the_last_layer_backwards():
    torch.manual_seed(0)
    net = with_statistics(Residual())
    scores = scores_of("nis", net, torch.rand(2, 3, 6, 6)).scores
    kernel = {name: getattr(net, name).weight.detach().abs().flatten(2).sum(2).numpy() for name in "ab"}
    joined = net.out.weight.detach().abs().numpy().T @ np.ones(4)
    scale = (net.bn.weight.abs() / (net.bn.running_var + net.bn.eps).sqrt()).detach().numpy()
    inner = scale * (kernel["b"].T @ joined)
    split = kernel["a"].T @ inner + net.shortcut.weight.detach().abs().flatten(1).numpy().T @ joined
    np.testing.assert_allclose(scores["b"], joined, rtol=1e-6)
    np.testing.assert_allclose(scores["shortcut"], joined, rtol=1e-6)
    np.testing.assert_allclose(scores["a"], inner, rtol=1e-6)
    np.testing.assert_allclose(scores["stem"], split, rtol=1e-6)


def test_nis_equals_autograd_on_a_network_made_of_absolute_weights():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 2), nn.Flatten(), nn.Linear(45, 4))
    scores = scores_of("nis", net, torch.rand(2, 3, 6, 6)).scores
    for parameter in net.parameters():
        parameter.data.abs_()
    hidden = net[0](torch.rand(1, 3, 6, 6)).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(net[1:](hidden).sum(), hidden)
    torch.testing.assert_close(scores["0"].float(), gradient.sum((0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_nis_behind_the_norm_lacks_the_norms_scale_and_ignores_what_the_norm_undoes(convolutional):
    images = torch.rand(2, 3, 8, 8)
    before, behind = (scores_of(name, convolutional, images).scores for name in ("nis", "nis-norm"))
    norm = convolutional[1]
    scale = (norm.weight.abs() / (norm.running_var + norm.eps).sqrt()).detach()
    torch.testing.assert_close(before["0"].float(), (behind["0"] * scale).float())
    torch.testing.assert_close(before["3"], behind["3"])
    factors = torch.tensor([0.1, 0.5, 1, 2, 4, 9])
    norm.eps = 0.0
    expected = scores_of("nis-norm", convolutional, images).scores["0"]
    convolutional[0].weight.data *= factors[:, None, None, None]
    norm.running_var *= factors.square()
    torch.testing.assert_close(scores_of("nis-norm", convolutional, images).scores["0"], expected)


def test_erm_is_the_mean_weight_relative_to_the_layers_largest_times_eta(convolutional):
    scores = scores_of("erm", convolutional, torch.rand(2, 3, 8, 8)).scores
    weight = convolutional[0].weight.detach().numpy()
    expected = [np.sqrt(6 / 27) * np.mean(np.abs(w)) / np.abs(weight).max() for w in weight]
    np.testing.assert_allclose(scores["0"], expected, rtol=1e-5)


def test_ase_is_half_the_mean_squared_gradient_times_the_squared_weight(convolutional):
    images, labels = torch.rand(5, 3, 8, 8), torch.tensor([0, 1, 2, 3, 1])
    scores = scores_of("ase", convolutional, images, labels).scores
    squares = torch.zeros_like(convolutional[3].weight)
    for i in range(5):
        convolutional.zero_grad()
        F.cross_entropy(convolutional(images[i : i + 1]), labels[i : i + 1]).backward()
        squares += convolutional[3].weight.grad ** 2 / 5
    expected = (0.5 * squares * convolutional[3].weight.detach() ** 2).sum((1, 2, 3))
    torch.testing.assert_close(scores["3"], expected, rtol=1e-4, atol=1e-12)


def test_ase_of_a_linear_layer_equals_its_closed_form():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 3))
    images, labels = torch.rand(6, 3, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2])
    scores = scores_of("ase", net, images, labels).scores["2"]
    hidden = net[:2](images).detach()
    errors = net(images).softmax(1).detach() - F.one_hot(labels, 3)  # dL/dlogits
    squares = torch.einsum("ni,nj->ij", errors**2, hidden**2) / 6
    torch.testing.assert_close(scores, (0.5 * squares * net[2].weight.detach() ** 2).sum(1))


def test_bnsf_is_the_sum_of_absolute_effective_weights_and_scale_one_without_a_norm(convolutional):
    scores = scores_of("bnsf", convolutional, torch.rand(2, 3, 8, 8)).scores
    norm = convolutional[1]
    scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach().numpy()
    weight = convolutional[0].weight.detach().numpy()
    np.testing.assert_allclose(
        scores["0"], [np.abs(s * w).sum() for s, w in zip(scale, weight, strict=True)], rtol=1e-5
    )
    np.testing.assert_allclose(
        scores["3"], [np.abs(w).sum() for w in convolutional[3].weight.detach().numpy()], rtol=1e-5
    )


@pytest.mark.parametrize("name", SCORES)
def test_a_groups_score_is_the_mean_over_the_layers_that_produce_its_channels(name):
    net = build.build_network("resnet18", classes=4, channels=3, width=8).eval()
    images = torch.rand(3, 3, 8, 8)
    structure = analyse(net, images[:1])
    importance = SCORES[name](net, structure, images, torch.tensor([0, 1, 2]))
    for group in structure.groups:
        expected = torch.stack([importance.scores[layer] for layer in group.producers]).mean(0)
        torch.testing.assert_close(importance(group), expected)


@pytest.mark.parametrize("name", SCORES)
def test_scoring_leaves_the_network_as_it_was(name, convolutional):
    before = {key: value.clone() for key, value in convolutional.state_dict().items()}
    scores_of(name, convolutional, torch.rand(2, 3, 8, 8))
    assert all(torch.equal(value, before[key]) for key, value in convolutional.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in convolutional.parameters())
    assert convolutional[0].padding_mode == "zeros"
