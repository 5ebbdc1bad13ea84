"""Gradients of two processes: our one all-reduce after backward against DistributedDataParallel's buckets.

    .venv/bin/python -m torch.distributed.run --standalone --nproc-per-node 2 benchmarks/data_parallel.py

Same network and batch; both take turns in blocks of steps, one thread per process, gloo. Figures are medians
of milliseconds per step over the rounds. Writes benchmarks/results/data-parallel.json.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from eed_edge import report
from eed_edge.atomic_files import write_json
from eed_edge.train.networks.build import build_network
from eed_edge.train.system.devices import mixed_precision
from eed_edge.train.system.distributed import process_group

RESULTS = Path(__file__).parent / "results"
STEPS = 6  # per block
DEVICE = torch.device("cpu")


def stepper(net: nn.Module, batch: int, reduce: Callable[[], None]) -> Callable[[], None]:
    """One training step of ``net`` on random images; ``reduce`` averages gradients if backward does not."""
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    images = torch.rand(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))

    def step() -> None:
        with mixed_precision(DEVICE):
            loss = F.cross_entropy(net(images).float(), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        reduce()
        optimiser.step()

    return step


@click.command(help=__doc__)
@click.option("--batch", default=128, show_default=True, help="Images of all processes together.")
@click.option("--rounds", default=7, show_default=True)
def main(batch: int, rounds: int) -> None:
    """Measure both for two widths and write milliseconds per step and their ratio."""
    torch.set_num_threads(1)
    figures = {}
    with process_group(DEVICE) as (processes, _):
        for width in (16, 64):
            ours, theirs = (
                build_network("resnet18", classes=10, channels=3, width=width).to(
                    memory_format=torch.channels_last
                )
                for _ in range(2)
            )
            share = batch // processes.size
            steps = {
                "all_reduce": stepper(
                    ours, share, lambda net=ours: processes.all_reduce_mean_(p.grad for p in net.parameters())
                ),
                "ddp": stepper(DistributedDataParallel(theirs), share, lambda: None),
            }
            times: dict[str, list[float]] = {name: [] for name in steps}
            for turn in range(rounds + 1):
                for name, step in steps.items():
                    processes.barrier()
                    started = time.perf_counter()
                    for _ in range(STEPS):
                        step()
                    processes.barrier()
                    if turn:  # the first round warms up
                        times[name].append((time.perf_counter() - started) * 1000 / STEPS)
            medians = {name: statistics.median(values) for name, values in times.items()}
            figures[f"width-{width}"] = {
                "ms_per_step": times, "median": medians, "ratio": medians["all_reduce"] / medians["ddp"],
            }  # fmt: skip
        if processes.is_main:
            command = (
                "python -m torch.distributed.run --standalone --nproc-per-node 2 benchmarks/data_parallel.py"
            )
            head = {
                "machine": report.machine(),
                "commit": report.commit(),
                "command": command,
                "batch": batch,
            }
            write_json(RESULTS / "data-parallel.json", {**head, "processes": processes.size, **figures})
            click.echo({name: (row["median"], round(row["ratio"], 3)) for name, row in figures.items()})


if __name__ == "__main__":
    main()
