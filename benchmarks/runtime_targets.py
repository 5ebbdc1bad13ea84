"""Measure what the runtime promises: a CIFAR-sized ResNet-18 and four pruned members, random weights.

    .venv/bin/python benchmarks/runtime_targets.py

Every figure is a ratio of two programs that take turns in one process on one thread, block by block, and
call by call where they share their sessions (the overhead); a line shows its median and quartiles over the
rounds. Load time and memory are those of new processes that take turns. Measure on an idle machine. Writes
benchmarks/results/runtime.json unless --json says otherwise.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import random_ensemble
import torch
from numpy.typing import NDArray

import eed_edge
from eed_edge import report
from eed_edge.arrays import Floats
from eed_edge.atomic_files import write_json
from eed_edge.manifest import CASCADE_FILE
from eed_edge.runtime.bundle.single_file import SingleFileCascade
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.engine.session import Session, open_session
from eed_edge.runtime.gates.margins import near_ties
from eed_edge.runtime.measure.clock import CLOCKS, in_blocks, in_pairs
from eed_edge.runtime.measure.conditions import busy_warning, conditions_between, snapshot
from eed_edge.runtime.measure.timing import measure_cold_start

Answer = Callable[[Floats], Any]
RESULTS = Path(__file__).parent / "results"
FOUR = ("confidence", "agreement", "geometric")


@dataclass(frozen=True)
class Row:
    """One promise: the median over ``n`` rounds with quartiles, the limit, and whether it holds."""

    what: str
    value: float
    low: float
    high: float
    n: int
    limit: str
    holds: bool


def judged(what: str, values: NDArray[np.float64], limit: float, *, at_least: bool = False) -> Row:
    """Judge the median of the rounds."""
    low, value, high = (float(v) for v in np.percentile(values, (25, 50, 75)))
    holds = value >= limit if at_least else value <= limit
    return Row(what, value, low, high, len(values), f"{'>=' if at_least else '<='} {limit:g}", holds)


def bare(net: Cascade, members: int) -> Answer:
    """A call that makes the same ``InferenceSession.run`` calls and does nothing else."""
    name = net.manifest.input.name

    def run(part: Floats) -> None:
        for session, output in net.submodels[:members]:
            session.run([output], {name: part})

    return run


def plain(session: Session) -> Answer:
    """A call of one network or cascade as a user runs it without eed-edge."""
    outputs = [node.name for node in session.get_outputs()][:2]
    name = session.get_inputs()[0].name
    return lambda part: session.run(outputs, {name: part})


def overhead_and_file(
    folder: Path, images: Floats, batch: int, items: int, rounds: int, clock: str
) -> list[Row]:
    """The Python runtime against the bare calls, and the single file against the Python runtime."""
    over, single = (1.05, 1.05) if batch == 1 else (1.03, 1.15)
    parts = [images[i * batch : (i + 1) * batch] for i in range(items)]
    rows = []
    for gate in ("one", *FOUR):
        members = 1 if gate == "one" else 4
        net, file = load_bundle(folder, gate), load_file(folder, gate)
        assert set(net(images[:batch]).submodels_used) == {members}
        calls: dict[str, Answer] = {"ours": net, "file": file, "graph": plain(file.session)}
        times = typical_of_rounds(calls, parts, rounds, clock)
        case = f"{gate}, batch {batch}" if members == 4 else f"one sub-model, batch {batch}"
        if members == 4:
            ours, calls_alone = in_pairs(
                on(parts, net), on(parts, bare(net, members)), items=items, rounds=rounds, now=CLOCKS[clock]
            )
            rows.append(judged(f"overhead, {case}", np.median(ours / calls_alone, axis=1), over))
            if batch == 1:
                extra = np.median(ours - calls_alone, axis=1) / members * 1e3
                rows.append(judged(f"overhead us per sub-model, {case}", extra, 15))
        rows.append(judged(f"cascade.onnx over Python, {case}", times["graph"] / times["ours"], single))
        rows.append(judged(f"the same by eed_edge.load, {case}", times["file"] / times["ours"], single))
    return rows


def on(parts: list[Floats], program: Answer) -> Callable[[int], Any]:
    """A call of a program by the index of a part."""
    return lambda i: program(parts[i])


def typical_of_rounds(
    programs: Mapping[str, Answer], parts: list[Floats], rounds: int, clock: str
) -> dict[str, NDArray[np.float64]]:
    """Milliseconds of the median call of each block, ``(rounds,)``."""
    calls = {name: on(parts, program) for name, program in programs.items()}
    times = in_blocks(calls, items=len(parts), rounds=rounds, now=CLOCKS[clock])
    return {name: np.median(each, axis=1) for name, each in times.items()}


def load_bundle(folder: Path, gate: str, *, threads: int = 1) -> Cascade:
    """The bundle with a gate of ``random_ensemble.RULES``."""
    rule, parameters = random_ensemble.RULES[gate]
    net = eed_edge.load(folder / "bundle", rule=rule, threads=threads)
    assert isinstance(net, Cascade)
    net.parameters = parameters
    return net


def load_file(folder: Path, gate: str) -> SingleFileCascade:
    """The cascade.onnx of a gate."""
    file = eed_edge.load(folder / gate / CASCADE_FILE)
    assert isinstance(file, SingleFileCascade)
    return file


def against_dense(folder: Path, images: Floats, macs: Any, rounds: int, clock: str) -> list[Row]:
    """The sub-models' operations per second as a share of what the dense network reaches."""
    net = load_bundle(folder, "confidence")
    dense = open_session((folder / "dense.onnx").read_bytes(), "dense.onnx")
    rows = []
    for batch, items in ((1, 30), (64, 1)):
        parts = [images[i * batch : (i + 1) * batch] for i in range(items)]
        programs = {"dense": plain(dense), "members": bare(net, 4)}
        times = typical_of_rounds(programs, parts, rounds, clock)
        share = sum(macs["each"]) / times["members"] / (macs["dense"] / times["dense"])
        rows.append(judged(f"sub-models' share of dense GFLOP/s, batch {batch}", share, 0.6, at_least=True))
        gflops = 2 * macs["dense"] * batch / np.median(times["dense"]) / 1e6
        click.echo(f"dense, batch {batch}: {gflops:.1f} GFLOP/s")
    return rows


def half_stopping(folder: Path, images: Floats, rounds: int, clock: str) -> Row:
    """256 images of which half of those left stop at each stage, against all four on all."""
    dynamic, static = load_bundle(folder, "mixed confidence"), load_bundle(folder, "confidence")
    stopping = np.bincount(dynamic(images[:256]).submodels_used, minlength=5)[1:]
    programs: dict[str, Answer] = {"dynamic": dynamic, "static": static}
    times = typical_of_rounds(programs, [images[:256]], rounds, clock)
    what = f"throughput over static, batch 256, {'/'.join(map(str, stopping))} stop"
    return judged(what, times["static"] / times["dynamic"], 1.6, at_least=True)


def new_process_costs(folder: Path, rounds: int) -> list[Row]:
    """Load and first answer, and peak memory, compared with the dense network alone."""
    paths = {
        "dense": folder / "dense.onnx",
        "bundle": folder / "bundle",
        "cascade.onnx": folder / "mixed confidence" / CASCADE_FILE,
    }
    starts = [{name: measure_cold_start(path, runs=1) for name, path in paths.items()} for _ in range(rounds)]
    rows = []
    for name in ("bundle", "cascade.onnx"):
        pairs = [(start[name], start["dense"]) for start in starts]
        taken = [(a["load_ms"] + a["first_ms"]) / (b["load_ms"] + b["first_ms"]) for a, b in pairs]
        held = [a["peak_rss_mib"] / b["peak_rss_mib"] for a, b in pairs]
        rows.append(judged(f"load and first answer over dense, {name}", np.array(taken), 1))
        rows.append(judged(f"peak memory over dense, {name}", np.array(held), 1))
    return rows


def equality(folder: Path, images: Floats) -> list[dict[str, Any]]:
    """Count the answers that differ between the ways to run; near-ties are counted apart."""
    rows = []
    for rule in FOUR:
        gate = f"mixed {rule}"
        net = load_bundle(folder, gate)
        ties = near_ties(net.member_probs(images), net.rule, net.parameters)
        reference = net(images)
        ways = {
            "batch 1": answer_in(net, images, 1),
            "batch 7": answer_in(net, images, 7),
            "threads 2": load_bundle(folder, gate, threads=2)(images),
            "file": load_file(folder, gate)(images),
            "file, batch 1": answer_in(load_file(folder, gate), images, 1),
            "file, threads 2": eed_edge.load(folder / gate / CASCADE_FILE, threads=2)(images),
        }
        for way, got in ways.items():
            differ = (got.labels != reference.labels) | (got.submodels_used != reference.submodels_used)
            apart = np.abs(got.probs - reference.probs).max(axis=1)
            rows.append(
                {
                    "rule": rule,
                    "way": way,
                    "images": len(images),
                    "submodels_used": float(reference.submodels_used.mean()),
                    "near_ties": int(ties.sum()),
                    "differ": int((differ & ~ties).sum()),
                    "differ_near_ties": int((differ & ties).sum()),
                    "largest_difference": float(apart[~differ].max()),
                }
            )
    return rows


def answer_in(net: Answer, images: Floats, batch: int) -> Any:
    """Answer in small batches and concatenate the results."""
    parts = [net(images[at : at + batch]) for at in range(0, len(images), batch)]
    fields = ("probs", "labels", "submodels_used", "answer_prefix")
    probs, labels, used, prefix = (np.concatenate([getattr(part, name) for part in parts]) for name in fields)
    return eed_edge.Prediction(
        probs, labels, used, prefix, complete=True, failed_submodels=(), abstained=np.zeros(len(labels), bool)
    )


@click.command(help=__doc__)
@click.option("--images", "npz", type=click.Path(path_type=Path), help="NPZ of 32x32 images, not digits.")
@click.option("--n", type=click.IntRange(min=256), default=1024, show_default=True, help="Images compared.")
@click.option("--rounds", type=click.IntRange(min=3), default=16, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--clock",
    type=click.Choice(list(CLOCKS)),
    default="wall",
    show_default=True,
    help="cpu: the process's own time, for a machine with other work; everything here runs on one thread.",
)
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULTS / "runtime.json")
def main(npz: Path | None, n: int, rounds: int, seed: int, clock: str, target: Path) -> None:
    """Build the ensemble, measure every promise, print a line for each, write the figures."""
    torch.set_num_threads(1)
    images = random_ensemble.pictures(npz, n)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        built = random_ensemble.build(folder, images, seed=seed)
        before = snapshot()
        rows = overhead_and_file(folder, images, 1, 40, rounds, clock)
        rows += overhead_and_file(folder, images, 64, 4, rounds, clock)
        rows += against_dense(folder, images, built["macs"], rounds, clock)
        rows.append(half_stopping(folder, images, rounds, clock))
        conditions = conditions_between(before, snapshot())
        rows += new_process_costs(folder, max(5, rounds // 2))
        same = equality(folder, images)
    for row in rows:
        verdict = "ok  " if row.holds else "MISS"
        click.echo(f"{verdict} {row.what:<58}{row.value:>7.3f} ({row.low:.3f}-{row.high:.3f}) {row.limit}")
    for one in same:
        verdict = "ok  " if not one["differ"] and one["largest_difference"] <= 1e-5 else "MISS"
        click.echo(
            f"{verdict} {one['rule']}, {one['way']}: {one['differ']} of {one['images']} differ, beside"
            f" {one['differ_near_ties']} of {one['near_ties']} near ties;"
            f" probabilities {one['largest_difference']:.1e} apart"
        )
    click.echo(busy_warning(conditions))
    write_json(
        target,
        {
            "command": ".venv/bin/python benchmarks/runtime_targets.py " + " ".join(sys.argv[1:]),
            "machine": report.machine(),
            "commit": report.commit(),
            "seed": seed,
            "clock": clock,
            "conditions": conditions,
            "images": str(npz) if npz else "scikit-learn digits, enlarged to 32x32",
            "n": len(images),
            "rounds": rounds,
            "ensemble": built,
            "targets": [asdict(row) for row in rows],
            "equality": same,
        },
    )
    click.echo(f"written: {target}")


if __name__ == "__main__":
    main()
