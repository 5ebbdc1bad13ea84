"""Run a suite's attacks on every target, batch by batch, with resumable results.

A batch of test images goes through all jobs of the suite in order. Each job attacks one target
(a single network, a prefix mean, a member, the smooth gate, the rule) on the images still classified
correctly; the adversarial images, and what fooled a defence on the way to them, are then judged by every
defence. Results stay in the run folder until the evaluation is complete.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from eed_edge.arrays import Bools, Ints
from eed_edge.atomic_files import write_atomic
from eed_edge.attacks.autoattack import capture_warnings
from eed_edge.attacks.interface import Attack, Threat
from eed_edge.attacks.registry import EVALUATION_ATTACKS
from eed_edge.evaluate.adaptive.int8_targets import Target, int8_targets
from eed_edge.evaluate.adaptive.iterates import IterateRecorder
from eed_edge.evaluate.adaptive.soft_gates import SmoothGate
from eed_edge.evaluate.adaptive.transfer import Transfer
from eed_edge.evaluate.models_compared import ModelsCompared
from eed_edge.evaluate.outcome import Outcome
from eed_edge.evaluate.suites import STRONGEST, Suite
from eed_edge.runtime.engine.prediction import Prediction
from eed_edge.seeds import job_seed


@dataclass(frozen=True)
class Job:
    """One attack on one target.

    kind: row of the report; ``clean`` for no attack, ``adaptive`` for an extra item.
    target: ``dense``, a baseline, ``mean-<t>`` of the first t members, ``member-<i>``, ``gate``, ``members``,
        ``rule``, and those of ``int8_targets``.
    make: the attack bound to its target; takes images, labels and threat.
    networks: what the target consists of; all that they answer on the way is judged, too.
    transfers: the strongest attack on a single network, whose images the team is shown in the adaptive list.
    """

    kind: str
    target: str
    make: Callable[[Tensor, Tensor, Threat], Tensor]
    networks: Sequence[nn.Module] = ()
    transfers: bool = False

    @property
    def name(self) -> str:
        """Such as ``pgd20 on mean-2``."""
        return f"{self.kind} on {self.target}"


def in_ball(job: str) -> bool:
    """Whether the job's attack is bounded in l_inf, so that it counts in the adaptive list."""
    attack = EVALUATION_ATTACKS.get(job.partition(" on ")[0])
    return attack is None or attack.norm == "l_inf"


def build_jobs(models: ModelsCompared, suite: Suite) -> list[Job]:
    """All jobs in running order: clean, each attack on each network and prefix, then the extra items."""

    def on(kind: str, target: str, attack: Attack, net: nn.Module, networks: Sequence[nn.Module]) -> Job:
        shown = target in models.singles and target != "dense_int8"  # which shows what dense does
        transfers = suite.adaptive and kind == suite.strongest and shown
        attack = Transfer(attack) if transfers else attack
        return Job(
            kind,
            target,
            lambda images, labels, threat: attack(net, images, labels, threat),
            networks,
            transfers,
        )

    todo = [Job("clean", "all", lambda images, labels, threat: images)]
    members = list(models.ensemble.members)
    targets: dict[str, Target] = {name: (net, [net]) for name, net in models.singles.items()}
    targets |= {f"mean-{t}": (prefix, members[:t]) for t, prefix in enumerate(models.prefixes, 1)}
    for kind, attack in suite.kinds.items():
        todo += [on(kind, target, attack, *networks) for target, networks in targets.items()]
    if not suite.adaptive:
        return todo
    beyond, smooth = Transfer(suite.extra), SmoothGate(models.ensemble, models.deployed).eval()
    gated = list(smooth.ensemble.members)
    todo += [on("adaptive", f"member-{i}", beyond, net, [net]) for i, net in enumerate(members[1:], 2)]
    todo.append(on("adaptive", "gate", beyond, smooth, gated))
    todo.append(on("adaptive", "members", suite.members, models.ensemble, members))
    todo.append(on("adaptive", "rule", suite.rule, smooth, gated))
    attacks = {"float_rule": suite.rule, "bundle": suite.square}
    targets = int8_targets(models)
    return todo + [on("adaptive", name, attacks.get(name, beyond), *targets[name]) for name in targets]


def run_batch(
    todo: Sequence[Job],
    models: ModelsCompared,
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
            job_threat = Threat(threat.eps, job_seed(threat.seed, folder.name, job.name))
            mask = _images_to_attack(job, done, models, labels.cpu().numpy())
            outcome = _run(job, models, images, labels, threat=job_threat, mask=mask)
            write_atomic(path, outcome.to_npz())
        done[job.name] = outcome
        step(job.name)
    return done


def _images_to_attack(
    job: Job, done: Mapping[str, Outcome], models: ModelsCompared, labels: Ints
) -> Bools | None:
    """Mask of the images to attack: those still correct for a defence judged on them. None means all.

    Static and dynamic are judged on all adversarial images, and each prefix mean on those made against
    itself. Transfer from other networks counts only in the adaptive list, so that the team's rows do not
    depend on which other networks exist.
    """
    if job.kind == "clean":
        return None
    clean, single = done["clean on all"], job.target in models.singles
    if job.kind not in STRONGEST | {"adaptive"}:
        lengths = range(1, len(models.ensemble.members) + 1)
        names = [*([job.target] if single else []), "static", "dynamic"]
        return _any(
            [clean.right[name] for name in names] + [clean.prefix_correct(t, labels) for t in lengths]
        )
    bounded = [outcome for name, outcome in done.items() if in_ball(name)]
    team = [_all_right(bounded, name) for name in ("static", "dynamic")]
    if job.kind == "adaptive":
        return _any(team)
    like = job.target if single else "mean-"
    mine = (f"pgd20 on {like}", f"{job.kind} on {like}")
    before = [clean, *(done[name] for name in done if name.startswith(mine))]
    if single:
        return _any([_all_right(before, job.target), *(team if job.transfers else [])])
    left = [_all_right(before, name) for name in ("static", "dynamic")]
    prefix_right = clean.prefix_correct(int(job.target.removeprefix("mean-")), labels)
    if (earlier := f"pgd20 on {job.target}") in done:
        prefix_right = prefix_right & done[earlier].right[job.target]
    return _any([*left, prefix_right])


def _all_right(outcomes: Sequence[Outcome], name: str) -> Bools:
    """Whether one defence is right in each of the outcomes that judge it, ``(n,)``."""
    right: Bools = np.logical_and.reduce([each.right[name] for each in outcomes if name in each.right])
    return right


def _any(verdicts: Sequence[Bools]) -> Bools:
    either: Bools = np.logical_or.reduce(verdicts)
    return either


def _run(
    job: Job,
    models: ModelsCompared,
    images: Tensor,
    labels: Tensor,
    *,
    threat: Threat,
    mask: Bools | None,
) -> Outcome:
    started = time.perf_counter()
    attacked, truth = images.clone(), labels.cpu().numpy()
    rows = torch.arange(len(images), device=images.device)
    if mask is not None:
        rows = rows[torch.from_numpy(mask).to(images.device)]
    target = job.target if job.kind not in ("clean", "adaptive") else None
    recorder = IterateRecorder(
        models.ensemble, models.deployed, images[rows], labels[rows], eps=threat.eps, target=target
    )
    with capture_warnings() as warnings, recorder.watching(job.networks if in_ball(job.name) else ()):
        if len(rows):
            attacked[rows] = job.make(images[rows], labels[rows], threat)
    seconds = time.perf_counter() - started
    answer, each, labels_by = _judge(job, models, attacked)
    right = {name: answers == truth for name, answers in labels_by.items()}
    for name, fooled in recorder.fooled.items():
        if fooled.any():
            places = rows[fooled].cpu().numpy()
            _, _, on_the_way = _judge(job, models, recorder.iterates[name][fooled])
            right[name][places] &= on_the_way[name] == truth[places]
    stores_images = job.target == f"mean-{len(models.ensemble.members)}" and job.kind in (
        "pgd20",
        "autoattack",
    )
    return Outcome(
        right,
        answer.submodels_used.astype(np.int64),
        answer.labels.astype(np.int64),
        each.softmax(2).cpu().numpy(),
        attacked.cpu().numpy() if stores_images else np.zeros((0, *images.shape[1:]), np.float32),
        seconds,
        warnings,
    )


def _judge(job: Job, models: ModelsCompared, images: Tensor) -> tuple[Prediction, Tensor, dict[str, Ints]]:
    """Return the bundle's answer, all members' logits, and the label by each defence that the job judges.

    Those are static, dynamic, and the attacked network or prefix; the unmodified images judge every network.
    """
    answer = models.deployed(images.detach().cpu().contiguous().numpy())
    judges_target = job.kind != "adaptive"
    shown = {
        name: net for name, net in models.singles.items() if judges_target and job.target in ("all", name)
    }
    with torch.no_grad():
        each = models.ensemble.member_logits(images).float()  # (members, n, k)
        answers = {name: net(images).argmax(1) for name, net in shown.items()}
    answers["static"] = each.log_softmax(2).logsumexp(0).argmax(1)
    if judges_target and job.target.startswith("mean-"):
        length = int(job.target.removeprefix("mean-"))
        answers[job.target] = each[:length].log_softmax(2).logsumexp(0).argmax(1)
    return (
        answer,
        each,
        {"dynamic": answer.labels, **{name: by.cpu().numpy() for name, by in answers.items()}},
    )
