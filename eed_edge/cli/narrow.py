"""``eed-edge narrow``: the static network of equal mean latency, trained with the whole run's budget."""

import shlex
from pathlib import Path

import click


@click.command("narrow")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option(
    "--data", "root", type=click.Path(path_type=Path), help="Folder or file of the images; digits need none."
)
@click.option(
    "--epochs", type=click.IntRange(min=1), help="Train this long instead of for what the run has cost."
)
@click.option(
    "--mean-ms", type=click.FloatRange(min=0, min_open=True), help="Equal this latency, not the bundle's."
)
@click.option(
    "--max-minutes",
    type=click.FloatRange(min=0),
    help="Pause at a checkpoint after so many minutes of work.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def command(
    run: Path,
    bundle: Path | None,
    root: Path | None,
    epochs: int | None,
    mean_ms: float | None,
    max_minutes: float | None,
    device: str,
) -> None:
    """Train the baseline that BUNDLE of RUN has to beat: one static, narrower copy of the base.

    It is as wide as the bundle's mean latency allows, measured here, and gets as much training as
    base, score searches, pool and joint stage together. Leaves RUN/narrow.onnx and
    RUN/narrow.safetensors; figures go into RUN/report.json. Stopped at any moment, it goes on.
    """
    from eed_edge.cli.resumable import resumable
    from eed_edge.cli.stage_tables import stage_table
    from eed_edge.evaluate.baselines import narrow_network
    from eed_edge.train.context import TrainingContext
    from eed_edge.train.run_folder import open_run
    from eed_edge.train.system.time_limit import TimeLimit

    if bundle is None and mean_ms is None:
        raise click.UsageError("BUNDLE is missing; only with --mean-ms it may be left out")
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
