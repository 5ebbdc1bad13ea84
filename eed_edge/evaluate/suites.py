"""Run a suite's attacks on every target, batch by batch, with resumable results.

A batch of test images goes through all jobs of the suite in order. Each job attacks one target
(a single network, a prefix mean, a member, the smooth gate) on the images still classified correctly;
the adversarial images are then judged by every defence. Results stay in the run folder until the
evaluation is complete.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from eed_edge.arrays import Bools, Ints
from eed_edge.atomic_files import write_atomic
from eed_edge.attacks.autoattack import APGD, ShortAPGD, capture_warnings
from eed_edge.attacks.interface import Attack, Threat
from eed_edge.attacks.registry import EVALUATION_ATTACKS, QUICK, STANDARD
from eed_edge.errors import InputError
from eed_edge.evaluate.adaptive.mora import Mora
from eed_edge.evaluate.adaptive.soft_gates import SmoothGate
from eed_edge.evaluate.models_compared import ModelsCompared
from eed_edge.evaluate.outcome import Outcome
from eed_edge.seeds import job_seed


@dataclass(frozen=True)
class Suite:
    """The attacks of an evaluation: rows of the report and extra attacks of the adaptive list.

    kinds: attacks by their row in the report.
    strongest: the kind that stands for the strongest attack on one network.
    extra: attack on single members and on the smooth gate, for the adaptive list.
    members: attack on the members as an ensemble, for the adaptive list.
    eps_images: images of the curve over eps, which attacks each of them at five radii.
    complete: every attack runs, and the adaptive list after them.
    """

    name: str
    kinds: Mapping[str, Attack]
    strongest: str
    extra: Attack
    members: Attack
    eps_images: int
    complete: bool = True


SUITES = {
    "quick": Suite("quick", QUICK, "apgd", ShortAPGD(), Mora(steps=20), 20),
    "standard": Suite("standard", STANDARD, "autoattack", APGD(), Mora(), 500),
}
STRONGEST = {suite.strongest for suite in SUITES.values()}


def find_suite(name: str, only: Sequence[str] = ()) -> Suite:
    """Return a suite by name, reduced to the attacks in ``only`` unless that is empty.

    Raises:
        InputError: unknown suite, or an attack that the suite does not have.
    """
    if name not in SUITES:
        raise InputError(f"--suite: expected one of {', '.join(SUITES)}, got {name!r}")
    chosen = SUITES[name]
    if odd := [kind for kind in only if kind not in chosen.kinds]:
        raise InputError(
            f"--only: the suite {name} has {', '.join(chosen.kinds)}, not {odd[0]!r}; name one of these"
        )
    kinds = {kind: attack for kind, attack in chosen.kinds.items() if not only or kind in only}
    return dataclasses.replace(chosen, kinds=kinds, complete=not only)


@dataclass(frozen=True)
class Job:
    """One attack on one target.

    kind: row of the report; ``clean`` for no attack, ``adaptive`` for an extra item.
    target: ``dense``, ``narrow``, ``mean-<t>`` of the first t members, ``member-<i>``, ``gate``, ``members``.
    make: the attack bound to its target; takes images, labels and threat.
    """

    kind: str
    target: str
    make: Callable[[Tensor, Tensor, Threat], Tensor]

    @property
    def name(self) -> str:
        """Such as ``pgd20 on mean-2``."""
        return f"{self.kind} on {self.target}"


def in_ball(job: str) -> bool:
    """Whether the job's attack is bounded in l_inf, so that it counts in the adaptive list."""
    attack = EVALUATION_ATTACKS.get(job.partition(" on ")[0])
    return attack is None or attack.norm == "l_inf"


def build_jobs(defences: ModelsCompared, chosen: Suite) -> list[Job]:
    """All jobs in running order: clean, each attack on each network and prefix, then the extra items."""

    def on(kind: str, target: str, attack: Attack, net: nn.Module) -> Job:
        return Job(kind, target, lambda images, labels, threat: attack(net, images, labels, threat))

    todo = [Job("clean", "all", lambda images, labels, threat: images)]
    targets: dict[str, nn.Module] = dict(defences.singles)
    targets |= {f"mean-{t}": prefix for t, prefix in enumerate(defences.prefixes, 1)}
    for kind, attack in chosen.kinds.items():
        todo += [on(kind, target, attack, net) for target, net in targets.items()]
    if not chosen.complete:
        return todo
    members = list(defences.ensemble.members)
    todo += [on("adaptive", f"member-{i}", chosen.extra, members[i - 1]) for i in range(2, len(members) + 1)]
    smooth = SmoothGate(defences.ensemble, defences.deployed.manifest.gate).eval()
    todo.append(on("adaptive", "gate", chosen.extra, smooth))
    todo.append(on("adaptive", "members", chosen.members, defences.ensemble))
    return todo


def run_batch(
    todo: Sequence[Job],
    defences: ModelsCompared,
    images: Tensor,
    labels: Tensor,
    *,
    threat: Threat,
    folder: Path,
    step: Callable[[str], None],
) -> dict[str, Outcome]:
    """Run every job on one batch; finished ones are read from ``folder``.

    Args:
        images: ``(n, c, h, w)`` in [0, 1] on the attacker's device.
        step: called with the name of each finished job.
    """
    done: dict[str, Outcome] = {}
    for number, job in enumerate(todo):
        path = folder / f"{number:02d}.npz"
        outcome = Outcome.from_npz(path)
        if outcome is None:
            own = Threat(threat.eps, job_seed(threat.seed, folder.name, job.name))
            wanted = _images_to_attack(job, done, defences, labels.cpu().numpy())
            outcome = _run(job, defences, images, labels, threat=own, wanted=wanted)
            write_atomic(path, outcome.to_npz())
        done[job.name] = outcome
        step(job.name)
    return done


def _images_to_attack(
    job: Job, done: Mapping[str, Outcome], defences: ModelsCompared, labels: Ints
) -> Bools | None:
    """Mask of the images to attack: those still correct for a defence judged on them. None means all.

    Static and dynamic are judged on all adversarial images, and each prefix mean on those made against
    itself. Transfer from other networks counts only in the adaptive list, so that the team's rows do not
    depend on which other networks exist.
    """
    if job.kind == "clean":
        return None
    clean, (what, _, number) = done["clean on all"], job.target.partition("-")
    if job.kind not in STRONGEST | {"adaptive"}:
        lengths = range(1, len(defences.ensemble.members) + 1)
        names = [*([job.target] if job.target in defences.singles else []), "static", "dynamic"]
        return _any(
            [clean.right[name] for name in names] + [clean.prefix_correct(t, labels) for t in lengths]
        )
    columns = [job.target] if job.target in defences.singles else ["static", "dynamic"]
    if job.kind == "adaptive":
        before = [outcome for name, outcome in done.items() if in_ball(name)]
    else:
        like = job.target if job.target in defences.singles else "mean-"
        mine = (f"pgd20 on {like}", f"{job.kind} on {like}")
        before = [clean, *(done[name] for name in done if name.startswith(mine))]
    left = []
    for column in columns:
        seen = [outcome for outcome in before if column in outcome.right]
        left.append(np.logical_and.reduce([outcome.right[column] for outcome in seen]))
    if what == "mean":
        own = [clean, *(done[name] for name in (f"pgd20 on {job.target}",) if name in done)]
        left.append(np.logical_and.reduce([outcome.prefix_correct(int(number), labels) for outcome in own]))
    return _any(left)


def _any(verdicts: Sequence[Bools]) -> Bools:
    either: Bools = np.logical_or.reduce(verdicts)
    return either


def _run(
    job: Job,
    defences: ModelsCompared,
    images: Tensor,
    labels: Tensor,
    *,
    threat: Threat,
    wanted: Bools | None,
) -> Outcome:
    started = time.perf_counter()
    attacked = images.clone()
    with capture_warnings() as warnings:
        if wanted is None:
            attacked = job.make(images, labels, threat)
        elif wanted.any():
            rows = torch.from_numpy(np.flatnonzero(wanted)).to(images.device)
            attacked[rows] = job.make(images[rows], labels[rows], threat)
    seconds = time.perf_counter() - started
    whole = job.kind == "clean"
    shown = {name: net for name, net in defences.singles.items() if whole or name == job.target}
    truth = labels.cpu().numpy()
    answer = defences.deployed(attacked.detach().cpu().contiguous().numpy())
    with torch.no_grad():
        each = defences.ensemble.member_logits(attacked).float()
        static = torch.logsumexp(each.log_softmax(2), 0).argmax(1).cpu().numpy()
        singles = {name: net(attacked).argmax(1).cpu().numpy() == truth for name, net in shown.items()}
    kept = job.target == f"mean-{len(defences.ensemble.members)}" and job.kind in ("pgd20", "autoattack")
    return Outcome(
        {**singles, "static": static == truth, "dynamic": answer.labels == truth},
        answer.submodels_used.astype(np.int64),
        answer.labels.astype(np.int64),
        each.softmax(2).cpu().numpy(),
        attacked.cpu().numpy() if kept else np.zeros((0, *images.shape[1:]), np.float32),
        seconds,
        warnings,
    )
