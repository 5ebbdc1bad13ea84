"""Compare members pruned to a share of MACs with members pruned to a time, of one base, trained alike.

    .venv/bin/python benchmarks/widths_by_time.py digits-resnet18 --out build/widths
    .venv/bin/python benchmarks/widths_by_time.py cifar10-resnet18-w16 --data data --out build/widths \\
        --set pool.epochs=3 --set 'scores.names=["nis","bnsf"]' --set pool.subsets=1

The recipe's own budgets make the members by MACs. Members by time have no budget but the time that those
take by the latency table, divided by each --factor. All are fine-tuned as the recipe's pool says, judged on
all of tune by PGD, and timed in blocks, one image a call. Printed: predicted and measured time, accuracy, and
for each member by time the paired difference to the member by MACs of the same score and subset. Run it
again to resume; --base takes the base (and its settings) of a run. Measure on an idle machine. Nothing here
sees test or calib images. Writes OUT/widths-by-time.json unless --json says otherwise.
"""

import dataclasses
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from eed_edge import pipeline, report
from eed_edge import recipe as recipes
from eed_edge.arrays import Bools
from eed_edge.atomic_files import write_json
from eed_edge.attacks.interface import Threat, frozen
from eed_edge.errors import EedError, NetworkError
from eed_edge.evaluate.paired import paired_row
from eed_edge.export.ladder_networks import write_ladder
from eed_edge.export.network_graph import INPUT, OUTPUT, to_onnx
from eed_edge.latency.latency_table import read_latency_table, write_latency_table
from eed_edge.prune.candidates import candidates
from eed_edge.prune.channels.layer_cost import count_cost
from eed_edge.prune.groups import analyse
from eed_edge.prune.member_time import predicted_ms
from eed_edge.recipe import Recipe
from eed_edge.runtime.engine.session import open_session
from eed_edge.runtime.measure.clock import CLOCKS, in_blocks
from eed_edge.runtime.measure.conditions import busy_warning, conditions_between, snapshot
from eed_edge.runtime.measure.layer_profile import profile_folder
from eed_edge.train.attacked_accuracy import correct_clean, correct_under_attack
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images, as_float, in_order
from eed_edge.train.data.splits import Splits, splits_for_recipe
from eed_edge.train.networks import checkpoint
from eed_edge.train.networks.build import Classifier
from eed_edge.train.run_folder import Run, open_run

BY_MACS = "MACs"
JUDGE_BATCH = 250


@click.command(help=__doc__)
@click.argument("recipe_name", metavar="RECIPE")
@click.option("--data", "root", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of everything made.")
@click.option("--base", "base_run", type=click.Path(path_type=Path, exists=True), help="Run with a base.")
@click.option("--table", type=click.Path(path_type=Path, exists=True), help="Else one is measured here.")
@click.option("--factor", "factors", type=float, multiple=True, default=(1.0, 1.2, 1.5), show_default=True)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE")
@click.option("--n", type=click.IntRange(min=2), default=64, show_default=True, help="Images a block.")
@click.option("--rounds", type=click.IntRange(min=2), default=8, show_default=True)
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", help="cpu: on a busy machine.")
@click.option("--json", "target", type=click.Path(path_type=Path))
def main(
    recipe_name: str,
    root: Path | None,
    out: Path,
    base_run: Path | None,
    table: Path | None,
    factors: tuple[float, ...],
    overrides: tuple[str, ...],
    n: int,
    rounds: int,
    clock: str,
    target: Path | None,
) -> None:
    """Make both kinds of members, judge and time them, print a table, write the figures."""
    try:
        recipe = recipes.load_recipe(recipe_name, overrides)
        splits = splits_for_recipe(recipe, root)
        base = open_run(_base(recipe, splits, out / "base", base_run))
        recipe = dataclasses.replace(recipe, base=base.recipe.base, net=base.recipe.net)
        path = _table(base.base(), recipe, splits, table, out)
        pools = {BY_MACS: _pool(recipe, splits, out / "macs", base)}
        goal = float(np.median([_ms(pools[BY_MACS], path, name) for name in _names(recipe)]))
        for factor in factors:
            prune = dataclasses.replace(
                recipe.prune,
                sparsity=0.01,
                member_share=1.0,
                latency_table=str(path),
                latency_ms=goal / factor,
            )
            timed, name = dataclasses.replace(recipe, prune=prune), f"time / {factor:g}"
            try:
                pools[name] = _pool(timed, splits, out / f"time-{factor:g}", base)
            except NetworkError as error:  # no widths are that fast
                click.echo(f"{name}: {error}")
    except EedError as error:
        raise click.ClickException(str(error)) from error
    nets = {(kind, name): _candidate(run, name) for kind, run in pools.items() for name in _names(recipe)}
    tune = Images(torch.from_numpy(splits.tune.images), torch.from_numpy(splits.tune.labels))
    right = {key: _judge(net, tune, recipe) for key, net in nets.items()}
    before = snapshot()
    times = _times(
        {"base": base.base(), **{f"{a}: {b}": net for (a, b), net in nets.items()}}, tune, n, rounds, clock
    )
    conditions = conditions_between(before, snapshot())
    rows = [_row(key, pools, path, right, times[f"{key[0]}: {key[1]}"]) for key in nets]
    summary = _summary(rows, count_cost(base.base(), torch.zeros(1, *base.input.size))[1], times["base"])
    for line in _lines(rows, summary, times["base"]):
        click.echo(line)
    click.echo(busy_warning(conditions))
    figures = {
        "machine": report.machine(),
        "commit": report.commit(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "clock": clock,
        "conditions": conditions,
        "recipe": recipe.as_dict(),
        "table": dataclasses.asdict(dataclasses.replace(read_latency_table(path), layers=())),
        "base_ms": times["base"],
        "rows": rows,
        "summary": summary,
    }  # fmt: skip
    write_json(target or out / "widths-by-time.json", figures)


def _base(recipe: Recipe, splits: Splits, place: Path, base: Path | None) -> Path:
    """A run that has a base: the given one, or one that is trained here."""
    if base is None:
        pipeline.train(recipe, splits, place, context=TrainingContext(), until="base")
    return base or place


def _table(net: Classifier, recipe: Recipe, splits: Splits, table: Path | None, out: Path) -> Path:
    """The given latency table, or one that is measured on this machine."""
    path = out / "latency-table.json"
    if table is None and not path.exists():
        image = as_float(torch.from_numpy(splits.tune.images[:1]))
        if not (out / "networks").exists():
            write_ladder(net, image, out / "networks", recipe=recipe)
        write_latency_table(path, profile_folder(out / "networks"))
    return table or path


def _pool(recipe: Recipe, splits: Splits, place: Path, base: Run) -> Run:
    """A run with the pool of this recipe, pruned from the shared base."""
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "base.safetensors").exists():
        shutil.copy(base.path / "base.safetensors", place)
    return pipeline.train(recipe, splits, place, context=TrainingContext(), until="pool")


def _names(recipe: Recipe) -> list[str]:
    return [candidate.name for candidate in candidates(recipe)]


def _candidate(run: Run, name: str) -> Classifier:
    net, _ = checkpoint.load_network(
        run.path / "pool" / f"{name}.safetensors", named_arch=run.recipe.net.arch
    )
    return net.eval()


def _record(run: Run, name: str) -> dict[str, Any]:
    _, record = checkpoint.load_network(
        run.path / "pool" / f"{name}.safetensors", named_arch=run.recipe.net.arch
    )
    pruning: dict[str, Any] = record["pruning"]
    return pruning


def _ms(run: Run, table: Path, name: str) -> float:
    """Predicted milliseconds of a candidate."""
    image, widths = torch.zeros(1, *run.input.size), _record(run, name)["widths"]
    structure = analyse(run.base(), image)
    ratios = {group.root: widths[group.root] / group.channels for group in structure.groups}
    return float(predicted_ms(structure, read_latency_table(table), ratios))


def _judge(net: Classifier, tune: Images, recipe: Recipe) -> dict[str, Bools]:
    """Which images are right clean, and under the worse of two PGD attacks."""
    threat = Threat(recipe.pool.eps_255 / 255, generator=torch.Generator().manual_seed(recipe.seed))
    parts: dict[str, list[torch.Tensor]] = {"clean": [], "attacked": []}
    with frozen(net):
        for images, labels in in_order(tune, JUDGE_BATCH):
            parts["clean"].append(correct_clean(net, images, labels))
            parts["attacked"].append(
                correct_under_attack(net, images, labels, threat, steps=recipe.pool.judge_steps, margin=True)
            )
    return {name: torch.cat(each).numpy() for name, each in parts.items()}


def _times(nets: dict[str, Classifier], tune: Images, n: int, rounds: int, clock: str) -> dict[str, float]:
    """Median milliseconds of each network, in blocks that take turns."""
    images = np.ascontiguousarray(as_float(tune.images[:n]).numpy())

    def call(net: Classifier) -> Callable[[int], object]:
        session = open_session(to_onnx(net, torch.from_numpy(images[:1])), "member.onnx")
        return lambda i: session.run([OUTPUT], {INPUT: images[i : i + 1]})

    calls = {name: call(net) for name, net in nets.items()}
    measured = in_blocks(calls, items=len(images), rounds=rounds, now=CLOCKS[clock])
    return {name: float(np.median(np.median(times, axis=1))) for name, times in measured.items()}


def _row(
    key: tuple[str, str],
    pools: dict[str, Run],
    table: Path,
    right: dict[tuple[str, str], dict[str, Bools]],
    ms: float,
) -> dict[str, Any]:
    kind, name = key
    pruning, predicted = _record(pools[kind], name), _ms(pools[kind], table, name)
    row = {
        "kind": kind, "candidate": name, "params": pruning["params"], "macs": pruning["macs"],
        "widths": pruning["widths"], "predicted_ms": predicted, "measured_ms": ms,
        **{part: float(each.mean()) for part, each in right[key].items()},
    }  # fmt: skip
    if kind != BY_MACS:
        row["paired"] = paired_row(right[key]["attacked"], right[BY_MACS, name]["attacked"])
    return row


def _summary(rows: list[dict[str, Any]], base_macs: int, base_ms: float) -> list[dict[str, Any]]:
    """Means over the candidates of each kind, and the speed-up over the members by MACs.

    ``slower_per_mac`` is how much longer a multiply-accumulate takes than in the base: the most that other
    widths of equally many could gain.
    """
    kinds = list(dict.fromkeys(row["kind"] for row in rows))

    def mean(kind: str, field: str) -> float:
        values: NDArray[np.float64] = np.array([row[field] for row in rows if row["kind"] == kind], float)
        return float(values.mean())

    fields = ("params", "macs", "predicted_ms", "measured_ms", "clean", "attacked")
    return [
        {
            "kind": kind,
            **{field: mean(kind, field) for field in fields},
            "speedup": mean(BY_MACS, "measured_ms") / mean(kind, "measured_ms"),
            "attacked_difference": mean(kind, "attacked") - mean(BY_MACS, "attacked"),
            "slower_per_mac": mean(kind, "measured_ms") / mean(kind, "macs") * base_macs / base_ms,
        }
        for kind in kinds
    ]


def _lines(rows: list[dict[str, Any]], summary: list[dict[str, Any]], base_ms: float) -> list[str]:
    heads = f"{'params':>10}{'MACs':>12}{'predicted':>11}{'measured ms':>13}{'clean':>8}{'attacked':>10}"
    lines = [f"base {base_ms:.3f} ms", f"{'member':<24}{heads}  against the one by MACs"]
    for row in rows:
        against = ""
        if "paired" in row:
            low, high = row["paired"]["interval"]
            against = f"  attacked {row['paired']['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
        lines.append(
            f"{row['kind']:<12}{row['candidate']:<12}{row['params']:>10,}{row['macs']:>12,}"
            f"{row['predicted_ms']:>11.3f}{row['measured_ms']:>13.3f}{row['clean']:>8.3f}{row['attacked']:>10.3f}"
            f"{against}"
        )
    for each in summary:
        lines.append(
            f"mean {each['kind']:<12} {each['measured_ms']:.3f} ms, {each['speedup']:.2f} times as fast,"
            f" attacked {each['attacked']:.3f} ({each['attacked_difference']:+.3f}), a MAC takes"
            f" {each['slower_per_mac']:.2f} of its time in the base"
        )
    return lines


if __name__ == "__main__":
    main()
