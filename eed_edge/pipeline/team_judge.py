"""Judge teams and running orders by what is deployed: the mean of exactly these members."""

from collections.abc import Sequence

import torch
from torch import nn

from eed_edge.attacks.interface import Threat, frozen
from eed_edge.recipe import Recipe
from eed_edge.train.attacked_accuracy import correct_clean, correct_under_attack
from eed_edge.train.data.batches import Images, images_at_once, in_order
from eed_edge.train.networks.ensemble import Ensemble
from eed_edge.train.validation import VALIDATION_BATCH


class TeamJudge:
    """Accuracy of the mean of some networks on tune; each set of them is judged once.

    The worse of PGD on the cross-entropy and PGD on the margin counts, with ``pool.judge_steps`` steps on
    the first ``pool.judge_images``. In a run without attacks it is accuracy on these images as they are.
    """

    def __init__(self, networks: Sequence[nn.Module], tune: Images, recipe: Recipe) -> None:
        self._networks, self._recipe = networks, recipe
        self._tune = tune[slice(0, recipe.pool.judge_images)]
        self._accuracies: dict[tuple[int, ...], float] = {}

    def __call__(self, numbers: tuple[int, ...]) -> float:
        """Accuracy of the mean of the networks with these numbers, in [0, 1]."""
        if numbers not in self._accuracies:
            self._accuracies[numbers] = self._measure(Ensemble([self._networks[i] for i in numbers]))
        return self._accuracies[numbers]

    def _measure(self, ensemble: Ensemble) -> float:
        generator = torch.Generator(self._tune.images.device).manual_seed(self._recipe.seed)
        threat = Threat(self._recipe.pool.eps_255 / 255, generator=generator)
        steps, correct = self._recipe.pool.judge_steps, 0
        size = images_at_once(self._tune.images, VALIDATION_BATCH)
        with frozen(ensemble):
            for images, labels in in_order(self._tune, size):
                if self._recipe.attacked:
                    right = correct_under_attack(ensemble, images, labels, threat, steps=steps, margin=True)
                else:
                    right = correct_clean(ensemble, images, labels)
                correct += int(right.sum())
        return correct / len(self._tune)
