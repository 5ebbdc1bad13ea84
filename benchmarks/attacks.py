"""Our PGD-20 against foolbox's LinfPGD: success rate, time and images a second.

    .venv/bin/python benchmarks/attacks.py build/demo/run

Same network (the run's dense base, and its team as one network), test images in one batch, radius, step
size, steps and random starts; parameters are frozen for both. The two take turns in one process, each
round from new starts; figures are medians over rounds, with the least and the most. With --bundle the
slowdown attack on the team is timed, too. Measure on an idle machine: its load is written down. Writes
benchmarks/results/attacks.json unless --json says otherwise.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import foolbox
import torch
from torch import Tensor, nn

from eed_edge import report
from eed_edge.atomic_files import write_json
from eed_edge.attacks.interface import Threat, frozen
from eed_edge.attacks.pgd import PGD
from eed_edge.evaluate.adaptive import slowdown_attack
from eed_edge.runtime.bundle.folder import load_bundle
from eed_edge.train.data import splits
from eed_edge.train.data.batches import as_float
from eed_edge.train.run_folder import open_run
from eed_edge.train.system.devices import choose_device

RESULTS = Path(__file__).parent / "results"
STEPS = 20
Attack = Callable[[int], Tensor]


@click.command(help=__doc__)
@click.argument("run_folder", metavar="RUN", type=click.Path(exists=True, path_type=Path))
@click.option("--bundle", type=click.Path(exists=True, path_type=Path), help="For the slowdown attack.")
@click.option("--data", "root", type=click.Path(path_type=Path), help="Where the images lie.")
@click.option("--images", "count", type=int, default=128, show_default=True, help="Test images, one batch.")
@click.option("--rounds", type=int, default=7, show_default=True)
@click.option("--threads", type=int, default=1, show_default=True, help="CPU threads of torch.")
@click.option("--device", "device_name", default="cpu", show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULTS / "attacks.json")
def main(
    run_folder: Path,
    bundle: Path | None,
    root: Path | None,
    count: int,
    rounds: int,
    threads: int,
    device_name: str,
    target: Path,
) -> None:
    """Measure every network in turn and write the figures."""
    torch.set_num_threads(threads)
    device, run = choose_device(device_name), open_run(run_folder)
    test = splits.splits_for_recipe(run.recipe, root).test
    images = as_float(torch.from_numpy(test.images[:count].copy()).to(device))
    labels = torch.from_numpy(test.labels[:count].copy()).to(device)
    eps, ensemble = run.recipe.base.eps_255 / 255, run.ensemble().to(device)
    networks: dict[str, Any] = {}
    for name, net in (("dense", run.base().to(device)), ("static", ensemble)):
        pair = {"ours": ours(net, images, labels, eps), "foolbox": theirs(net, images, labels, eps)}
        with frozen(net):
            networks[name] = compared(pair, net, images, labels, rounds)
        click.echo(sentence(name, networks[name]))
    figures = {
        "command": ".venv/bin/python benchmarks/attacks.py " + " ".join(sys.argv[1:]),
        "machine": report.machine(),
        "device": str(device),
        "threads": threads,
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "commit": report.commit(),
        "recipe": run.recipe.name,
        "attack": f"PGD, {STEPS} steps of eps/4, eps {run.recipe.base.eps_255:g}/255, one random start",
        "n": rounds,
        "images": len(labels),
        "networks": networks,
    }
    if bundle is not None:
        gate = load_bundle(bundle)

        def slow(seed: int) -> Tensor:
            generator = torch.Generator(device).manual_seed(seed)
            return slowdown_attack.slowdown_attack(
                ensemble,
                images,
                gate=gate,
                eps=eps,
                steps=slowdown_attack.STEPS,
                restarts=1,
                generator=generator,
            )

        seconds, _ = in_turns({"slowdown": slow}, rounds)
        figures["slowdown"] = rate(seconds["slowdown"], len(labels))
        click.echo(f"slowdown  {figures['slowdown']['images_per_s']:.1f} images/s")
    write_json(target, figures)
    click.echo(f"written: {target}")


def ours(net: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Attack:
    """Our attack from the random start of a seed."""

    def attack(seed: int) -> Tensor:
        return PGD(steps=STEPS)(net, images, labels, Threat(eps, seed))

    return attack


def theirs(net: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Attack:
    """Foolbox's attack, without the forward pass in which it checks the outcome."""
    model = foolbox.PyTorchModel(net.eval(), bounds=(0, 1), device=images.device)
    attack = foolbox.attacks.LinfPGD(abs_stepsize=eps / 4, steps=STEPS, random_start=True)

    def made(seed: int) -> Tensor:
        torch.manual_seed(seed)
        attacked: Tensor = attack.run(model, images, foolbox.criteria.Misclassification(labels), epsilon=eps)
        return attacked

    return made


def compared(
    pair: dict[str, Attack], net: nn.Module, images: Tensor, labels: Tensor, rounds: int
) -> dict[str, Any]:
    """Success rates, images a second, and the ratio of the times round by round."""
    seconds, made = in_turns(pair, rounds)
    ratios = [a / b for a, b in zip(seconds["ours"], seconds["foolbox"], strict=True)]
    figures: dict[str, Any] = {}
    for name, attacked in made.items():
        with torch.no_grad():
            success = [float((net(one).argmax(1) != labels).float().mean()) for one in attacked]
        figures[name] = rate(seconds[name], len(labels)) | {
            "success": statistics.fmean(success),
            "success_least": min(success),
            "success_most": max(success),
        }
    return figures | {
        "time_ratio": statistics.median(ratios),
        "time_ratio_least": min(ratios),
        "time_ratio_most": max(ratios),
    }


def in_turns(calls: dict[str, Attack], rounds: int) -> tuple[dict[str, list[float]], dict[str, list[Tensor]]]:
    """Seconds and images of every call in every round, after a round that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    made: dict[str, list[Tensor]] = {name: [] for name in calls}
    order = list(calls)
    for number in range(rounds + 1):
        order.reverse()  # none is always first
        for name in order:
            started = time.perf_counter()
            attacked = calls[name](number)
            if attacked.is_cuda:
                torch.cuda.synchronize()
            if number:
                seconds[name].append(time.perf_counter() - started)
                made[name].append(attacked)
    return seconds, made


def rate(seconds: list[float], images: int) -> dict[str, float]:
    """Images a second: median, least and most."""
    return {
        "images_per_s": images / statistics.median(seconds),
        "least": images / max(seconds),
        "most": images / min(seconds),
    }


def sentence(name: str, figures: dict[str, Any]) -> str:
    """One line for the terminal."""
    sides = ", ".join(
        f"{side} {figures[side]['images_per_s']:.1f} images/s, fooled {figures[side]['success']:.4f}"
        for side in ("ours", "foolbox")
    )
    return f"{name:<8}{sides}; time ratio {figures['time_ratio']:.3f}"


if __name__ == "__main__":
    main()
