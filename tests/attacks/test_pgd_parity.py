"""Our PGD against foolbox's: the same network, radius, step size, steps and random start."""

import numpy as np
import pytest
import torch

from eed_edge.attacks.interface import Threat, frozen
from eed_edge.attacks.pgd import PGD

pytestmark = pytest.mark.filterwarnings("ignore:Please import .* from the `scipy.ndimage` namespace")
EPS, STEPS, SEEDS = 36 / 255, 20, 5


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    """A small convolutional network that has learnt the digits, so that radii matter."""
    from sklearn.datasets import load_digits

    images, labels = digits(load_digits())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = torch.nn.Sequential(
            torch.nn.Conv2d(1, 16, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16 * 36, 10)
        )
    optimiser = torch.optim.Adam(made.parameters(), 0.01)
    for _ in range(40):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(made(images), labels).backward()
        optimiser.step()
    return made.eval()


def digits(bunch) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(bunch.images.astype(np.float32) / 16)[:, None]
    return images[:600], torch.from_numpy(bunch.target[:600].astype(np.int64))


def test_success_rates_are_equal_within_the_noise_of_random_starts(net):
    foolbox = pytest.importorskip("foolbox")
    from sklearn.datasets import load_digits

    images, labels = digits(load_digits())
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    theirs_attack = foolbox.attacks.LinfPGD(abs_stepsize=EPS / 4, steps=STEPS, random_start=True)

    def theirs(seed):
        torch.manual_seed(seed)
        return theirs_attack(model, images, labels, epsilons=EPS)[1]

    def ours(seed):
        return PGD(steps=STEPS)(net, images, labels, Threat(EPS, seed))

    def fooled(attacked):
        assert (attacked - images).abs().max() <= EPS + 1e-6  # the same ball
        with torch.no_grad():
            return (net(attacked).argmax(1) != labels).numpy()

    with torch.random.fork_rng(devices=[]), frozen(net):
        result = np.array([fooled(theirs(seed)) for seed in range(SEEDS)])  # (seeds, n)
        same_starts = np.array([fooled(ours(seed)) for seed in range(SEEDS)])
        other_starts = np.array([fooled(ours(100 + seed)) for seed in range(SEEDS)])
    assert 0.3 < result.mean() < 0.9
    assert (result == same_starts).mean() > 0.995  # torch's generator gives both the same first images
    assert abs(result.mean() - other_starts.mean()) <= 0.01  # seeds alone are this far apart
