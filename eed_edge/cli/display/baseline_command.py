"""What the commands ``narrow`` and ``single`` share: options, call and the line that they print."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eed_edge.cli.display.output import print_answer
from eed_edge.cli.options import (
    NumberRange,
    data_option,
    device_option,
    max_minutes_option,
    optional_bundle_argument,
    run_argument,
)

if TYPE_CHECKING:
    from eed_edge.evaluate.baselines.equal_latency import Baseline


def baseline_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Arguments and options of both commands."""
    for decorator in (
        device_option(),
        max_minutes_option,
        click.option(
            "--mean-ms",
            type=NumberRange(min=0, min_open=True),
            help="Target latency (default: the bundle's).",
        ),
        click.option(
            "--epochs",
            type=click.IntRange(min=1),
            help="Epochs at most (default: by the team's cost).",
        ),
        data_option,
        optional_bundle_argument,
        run_argument,
    ):
        function = decorator(function)
    return function


def train_and_print(
    kind: "Baseline",
    run: Path,
    bundle: Path | None,
    root: Path | None,
    *,
    epochs: int | None,
    mean_ms: float | None,
    max_minutes: float | None,
    device: str,
) -> dict[str, Any]:
    """Train the baseline, print its size, latency and epochs, and return them."""
    from eed_edge.cli.display.resumable import resumable
    from eed_edge.cli.display.stage_tables import stage_table
    from eed_edge.evaluate.baselines.equal_latency import train_baseline
    from eed_edge.train.context import TrainingContext
    from eed_edge.train.run_folder import open_run
    from eed_edge.train.system.time_limit import TimeLimit

    if bundle is None and mean_ms is None:
        raise click.UsageError("BUNDLE is missing; it is optional only with --mean-ms")
    words = ["eed-edge", kind.name, str(run), *([str(bundle)] if bundle else [])]
    options = {"--data": root, "--epochs": epochs, "--mean-ms": mean_ms}
    words += [str(word) for pair in options.items() if pair[1] is not None for word in pair]
    with resumable(run) as progress:
        context = TrainingContext(
            callbacks=(progress.training,), time_limit=TimeLimit(max_minutes), device=device
        )
        made = train_baseline(
            kind, open_run(run), bundle, root,
            epochs=epochs, mean_ms=mean_ms, context=context, command=shlex.join(words),
        )  # fmt: skip
        progress.print_line(stage_table(kind.name, run))
    print_answer(
        f"{kind.name}: {made['params']:,} parameters, {made['macs']:,} MACs, {made['mean_ms']:.3f} ms"
        f" ({made['ratio']:.2f} of {made['target_ms']:.3f} ms), {made['epochs']} epochs of at most"
        f" {made['budget']['epochs']}{' by hand' if made['budget']['epochs_by_hand'] else ''}"
    )
    return made
