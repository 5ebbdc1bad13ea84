"""Record every iterate of an attack that fools a defence, not only the image that the attack returns.

An attack optimises one target: it returns the best image for that, and may pass over one on which the
deployed rule errs. The recorder sees every batch that the target answers, has the team answer it as well, and
keeps for each image and defence the first iterate on which that defence errs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from eed_edge.attacks.interface import TOLERANCE
from eed_edge.evaluate.adaptive.stop_rule import StopRule, replay_stop_rule
from eed_edge.train.networks.ensemble import Ensemble


class IterateRecorder:
    """The first iterate in the ball that fools each defence, for every image under attack.

    An iterate belongs to an image if it lies in that image's ball, which is all that makes it adversarial: so
    attacks may drop and reorder the rows of a batch. Iterates outside every ball count for none.

    Args:
        images: those under attack, ``(n, c, h, w)`` in [0, 1], with their ``labels``.
        gate: the deployed rule, replayed on the members' probabilities.
        eps: radius of the l_inf ball.
        target: a name for the attacked network itself, judged by its own answer; None: do not judge it.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        gate: StopRule,
        images: Tensor,
        labels: Tensor,
        *,
        eps: float,
        target: str | None,
    ) -> None:
        self.ensemble, self.gate, self.eps, self.target = ensemble, gate, eps, target
        self.images, self.labels = images, labels
        names = ["static", "dynamic", *([target] if target else [])]
        self.fooled = {
            name: torch.zeros(len(images), dtype=torch.bool, device=images.device) for name in names
        }
        self.iterates = {name: images.clone() for name in names}

    @contextmanager
    def watching(self, networks: Sequence[nn.Module]) -> Iterator[None]:
        """Record every batch that all of ``networks``, one target, have answered inside the block."""
        outputs: list[tuple[nn.Module, Tensor]] = []
        seen: list[Tensor] = []

        def hook(network: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if seen and seen[0] is not inputs[0]:
                outputs.clear()
            seen[:] = [inputs[0]]
            outputs.append((network, output.detach()))
            if len(outputs) == len(networks):
                answered = list(outputs)
                outputs.clear()
                seen.clear()
                self._record(inputs[0].detach(), answered)

        handles = [network.register_forward_hook(hook) for network in dict.fromkeys(networks)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def _record(self, batch: Tensor, answered: Sequence[tuple[nn.Module, Tensor]]) -> None:
        rows, places = self._owners(batch)
        undecided = ~torch.stack([fooled[places] for fooled in self.fooled.values()]).all(0)
        rows, places = rows[undecided], places[undecided]
        if not len(rows):
            return
        labels, answers = self.labels[places], self._answers(batch, rows, answered)
        for name, answer in answers.items():
            new = (answer != labels) & ~self.fooled[name][places]
            clean = self.images[places[new]]
            inside_ball = torch.minimum(torch.maximum(batch[rows[new]], clean - self.eps), clean + self.eps)
            self.iterates[name][places[new]] = inside_ball.clamp(0, 1).to(self.images.dtype)
            self.fooled[name][places[new]] = True

    def _owners(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return all pairs of a row of the batch and an image in whose ball it lies, as two index vectors."""
        pixels, clean = batch.flatten(1).float(), self.images.flatten(1).float()
        # what is near in l_inf is near in l_2, and that is fast for all pairs; the slack is for its rounding
        near = torch.cdist(pixels, clean) <= 1.1 * self.eps * pixels.shape[1] ** 0.5 + 0.1
        rows, places = near.nonzero(as_tuple=True)
        inside = (pixels[rows] - clean[places]).abs().amax(1) <= self.eps + TOLERANCE
        valid = (pixels.amin(1) >= -TOLERANCE) & (pixels.amax(1) <= 1 + TOLERANCE)
        inside &= valid[rows]
        return rows[inside], places[inside]

    def _answers(
        self, batch: Tensor, rows: Tensor, answered: Sequence[tuple[nn.Module, Tensor]]
    ) -> dict[str, Tensor]:
        """Return each defence's labels on some rows of the batch; no member answers the same batch twice."""
        known = {id(network): output[rows] for network, output in answered}
        images = batch[rows]
        each = torch.stack(
            [known[id(m)] if id(m) in known else m(images) for m in self.ensemble.members]
        ).float()
        replayed = replay_stop_rule(each.softmax(2).cpu().numpy(), self.gate).labels
        answers = {
            "static": each.log_softmax(2).logsumexp(0).argmax(1),
            "dynamic": torch.from_numpy(replayed).to(rows.device),
        }
        if self.target:
            target_logits = torch.stack([output[rows] for _, output in answered]).float()
            answers[self.target] = target_logits.log_softmax(2).logsumexp(0).argmax(1)
        return answers
