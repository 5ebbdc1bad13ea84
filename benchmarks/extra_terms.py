"""What the extra terms and options of the joint loss do to a team that stops early.

    .venv/bin/python benchmarks/extra_terms.py optimum --data DIR     # a minute
    .venv/bin/python benchmarks/extra_terms.py trained                # the digits, some minutes
    .venv/bin/python benchmarks/extra_terms.py trained --recipe cifar10-resnet18-w16 --data DIR

``optimum`` finds the answers that minimise a loss when nothing limits the members. Each has free logits for
each image; labels are as uncertain as the answers of the reference team to test images; the loss is minimised
over labels drawn from these. The accuracy of an answer is its share of the labels, the best possible that of
the commonest.

``trained`` repeats the joint stage of a recipe with other weights of the terms and other options, from one
base and one pool; soft labels are half of the loss where an arm is named after them or after the teacher, and
none of it elsewhere. Figures of other recipes and arms in the file stay. Tune images judge the first member
and the mean: clean, under PGD on the cross-entropy, and under the worse of this and PGD on the margin.
"""

import eed_edge  # before torch, whose idle threads would spin

# isort: split
import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from eed_edge import recipe as recipes
from eed_edge import report
from eed_edge.attacks.interface import Threat, frozen
from eed_edge.train import losses
from eed_edge.train.attacked_accuracy import correct_clean, correct_under_attack
from eed_edge.train.data.batches import Images, in_order
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.networks.ensemble import Ensemble

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BUNDLE = ROOT / "models" / "cifar10-resnet18-w16" / "bundle"
IMAGES, DRAWS, STEPS = 150, 50, 1000
Loss = Callable[[Tensor, Tensor], Tensor]
ARMS: dict[str, dict[str, float]] = {
    "cross-entropy": {},
    "alpha 2": {"alpha": 2.0},
    "beta 0.5": {"beta": 0.5},
    "omega 1": {"omega": 1.0},
    "omega 10": {"omega": 10.0},
    "gamma 4": {"gamma": 4.0},
    "all, as in the paper": {"alpha": 2.0, "beta": 0.5, "omega": 10.0, "gamma": 4.0},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "half on prefixes": {"prefixes": 0.5},
    "all on prefixes": {"prefixes": 1.0},
    "soft labels": {"distill": 0.5},
    "soft labels once": {"distill": 0.5, "soft_labels": "once"},
    "team as teacher": {"distill": 0.5, "teacher": "team"},
}
"""Settings of the joint stage that are no terms of their own; only ``trained`` compares them."""


@click.group(help=__doc__)
def main() -> None:
    """Run one of the two experiments."""


@main.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="CIFAR-10.")
@click.option(
    "--json", "target", type=click.Path(path_type=Path), default=RESULTS / "extra-terms-optimum.json"
)
def optimum(data: Path, target: Path) -> None:
    """Points of accuracy that are lost at the loss's own optimum."""
    splits = splits_for_recipe(recipes.load_recipe("cifar10-resnet18-w16"), data)
    answers = eed_edge.load(BUNDLE, threshold=2)(splits.test.images[:IMAGES])  # all sub-models run
    probs = torch.from_numpy(answers.probs.astype(np.float64))
    rows = {
        name: {f"members_{members}": lost_at_optimum(weights, probs, members) for members in (2, 4)}
        for name, weights in ARMS.items()
        if name != "gamma 4"  # it needs weights and activations, which free logits do not have
    }
    for name, row in rows.items():
        cells = (
            f"N={key[-1]}: mean {lost['mean']:5.2f}, first {lost['first']:5.2f}" for key, lost in row.items()
        )
        click.echo(f"{name:<22}{'   '.join(cells)}")
    write(target, {"images": IMAGES, "draws": DRAWS, "points_lost": rows})


def lost_at_optimum(weights: dict[str, float], probs: Tensor, members: int) -> dict[str, float]:
    """Points of accuracy lost by the mean and by the first member, of what these uncertain labels allow.

    Args:
        probs: ``(n, k)`` probabilities of the labels.
    """
    n, classes = probs.shape
    generator = torch.Generator().manual_seed(0)
    labels = torch.multinomial(probs, DRAWS, replacement=True, generator=generator)  # (n, DRAWS)
    start = probs.log() + 0.1 * torch.randn(members, n, classes, generator=generator, dtype=probs.dtype)
    logits = start.float().requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.05)
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - step / STEPS)
        drawn = logits.repeat_interleave(DRAWS, dim=1)
        loss = extra_loss(drawn, labels.flatten(), weights)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    member_probs = logits.detach().softmax(2)
    shares = torch.stack([(labels == c).double().mean(1) for c in range(classes)], 1)  # as drawn
    best = shares.amax(1).mean()

    def lost(answers: Tensor) -> float:
        return float(100 * (best - shares.gather(1, answers.argmax(1)[:, None]).mean()))

    firsts = [lost(member) for member in member_probs]
    return {"mean": lost(member_probs.mean(0)), "first": float(np.mean(firsts))}


def extra_loss(logits: Tensor, labels: Tensor, weights: dict[str, float]) -> Tensor:
    """The joint loss without compression and distillation."""
    probs = logits.softmax(2)
    total = losses.members_cross_entropy(logits, labels)
    total = total + weights.get("alpha", 0) * losses.mean_entropy(probs)
    if beta := weights.get("beta", 0):
        total = total + beta * losses.diversity(probs, labels)
    return total + weights.get("omega", 0) * losses.misclassified(probs, labels)


@main.command()
@click.option("--recipe", "name", default="digits-resnet18", show_default=True)
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, help="Of the recipe, as for eed-edge train.")
@click.option("--arm", "arms", type=click.Choice([*ARMS, *OPTIONS]), multiple=True, help="Only these.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/extra-terms"), show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULTS / "extra-terms.json")
def trained(
    name: str,
    data: Path | None,
    overrides: tuple[str, ...],
    arms: tuple[str, ...],
    work: Path,
    target: Path,
) -> None:
    """Accuracy of the team on tune after a joint stage with other terms."""
    recipe = recipes.load_recipe(name, overrides)
    first = eed_edge.train_team(recipe, data, run=work / name / "pool", until="select")
    tune = splits_for_recipe(recipe, data).tune
    images = Images(torch.from_numpy(tune.images.copy()), torch.from_numpy(tune.labels))
    for arm, settings in (ARMS | OPTIONS).items():
        if arms and arm not in arms:
            continue
        path = work / name / arm.replace(" ", "-").replace(",", "")
        if not path.exists():
            shutil.copytree(first.path, path)
            (path / "run.json").unlink()
            (path / "selection.json").unlink()
        off = dict.fromkeys(("alpha", "beta", "omega", "gamma", "distill", "prefixes"), 0.0)
        terms: dict[str, Any] = off | settings
        changed = dataclasses.replace(recipe, joint=dataclasses.replace(recipe.joint, **terms))
        run = eed_edge.train_team(changed, data, run=path)
        row = judged([net for net, _ in run.members()], images, eps=recipe.base.eps_255 / 255)
        click.echo(f"{arm:<22}" + "   ".join(f"{key} {100 * value:5.1f}" for key, value in row.items()))
        write(target, {name: {"images": len(images), "rows": {arm: row}}})


def judged(members: list[torch.nn.Module], tune: Images, *, eps: float) -> dict[str, float]:
    """Shares of tune that first member and mean classify correctly."""
    figures = {}
    for name, net in (("first", Ensemble(members[:1])), ("mean", Ensemble(members))):
        for kind, right in verdicts(net, tune, eps):
            figures[f"{name} {kind}"] = figures.get(f"{name} {kind}", 0.0) + right / len(tune)
    return figures


def verdicts(net: Ensemble, tune: Images, eps: float) -> Iterator[tuple[str, int]]:
    """The number of correct answers of each batch, by kind of judgement."""
    with frozen(net):
        for images, labels in in_order(tune, 250):
            yield "clean", int(correct_clean(net, images, labels).sum())
            for kind, margin in (("cross-entropy", False), ("worse of both", True)):
                threat = Threat(eps, generator=torch.Generator().manual_seed(0))
                yield (
                    kind,
                    int(correct_under_attack(net, images, labels, threat, steps=20, margin=margin).sum()),
                )


def write(target: Path, figures: dict[str, Any]) -> None:
    """Merge the figures into the file, with the machine and the command."""
    command = f".venv/bin/python benchmarks/{Path(sys.argv[0]).name} " + " ".join(sys.argv[1:])
    report.merge_report(
        target, {"command": command, "machine": report.machine(), "commit": report.commit(), **figures}
    )
    click.echo(f"written: {target}")


if __name__ == "__main__":
    main()
