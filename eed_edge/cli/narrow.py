"""``eed-edge narrow``: train a static network of equal mean latency with the run's compute budget."""

import shlex
from pathlib import Path

import click

from eed_edge.cli.options import data_option, device_option, max_minutes_option, run_argument


@click.command("narrow")
@run_argument
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@data_option
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs (default: the run's total compute).")
@click.option(
    "--mean-ms", type=click.FloatRange(min=0, min_open=True), help="Target latency (default: the bundle's)."
)
@max_minutes_option
@device_option()
def command(
    run: Path,
    bundle: Path | None,
    root: Path | None,
    epochs: int | None,
    mean_ms: float | None,
    max_minutes: float | None,
    device: str,
) -> None:
    """Train the baseline for BUNDLE of RUN: one static, narrower copy of the base.

    Its width is matched to the bundle's mean latency, measured on this machine, and its training budget
    equals that of base, score searches, pool and joint stage together. Writes RUN/narrow.onnx and
    RUN/narrow.safetensors and merges the results into RUN/report.json. Run the same command again to resume.
    """
    from eed_edge.cli.display.resumable import resumable
    from eed_edge.cli.display.stage_tables import stage_table
    from eed_edge.evaluate.baselines import narrow_network
    from eed_edge.train.context import TrainingContext
    from eed_edge.train.run_folder import open_run
    from eed_edge.train.system.time_limit import TimeLimit

    if bundle is None and mean_ms is None:
        raise click.UsageError("BUNDLE is missing; it is optional only with --mean-ms")
    words = ["eed-edge", "narrow", str(run), *([str(bundle)] if bundle else [])]
    options = {"--data": root, "--epochs": epochs, "--mean-ms": mean_ms}
    words += [str(word) for pair in options.items() if pair[1] is not None for word in pair]
    with resumable(run) as progress:
        made = narrow_network.train_narrow(
            open_run(run),
            bundle,
            root,
            epochs=epochs,
            mean_ms=mean_ms,
            context=TrainingContext(
                callbacks=(progress.training,), time_limit=TimeLimit(max_minutes), device=device
            ),
            command=shlex.join(words),
        )
        progress.print_line(stage_table("narrow", run))
    click.echo(
        f"narrow: {made['params']:,} parameters, {made['macs']:,} MACs, {made['mean_ms']:.3f} ms"
        f" ({made['ratio']:.2f} of {made['target_ms']:.3f} ms), {made['epochs']} epochs"
        f"{' by hand' if made['budget']['epochs_by_hand'] else ''}"
    )
