"""``eed-edge narrow``: train a narrower copy of the base with the bundle's mean latency."""

from typing import Any

import click

from eed_edge.cli.display.baseline_command import baseline_options, train_and_print
from eed_edge.cli.measuring_command import MeasuringCommand
from eed_edge.cli.options import help_examples


@click.command(
    "narrow",
    cls=MeasuringCommand,
    short_help="Train a baseline: a narrower network as fast as the bundle.",
    epilog=help_examples("eed-edge narrow run bundle --data my-pictures"),
)
@baseline_options
def command(**options: Any) -> dict[str, Any]:
    """Train the baseline narrow for BUNDLE of RUN: one static, narrower copy of the base.

    Its mean latency is matched to the bundle's, measured on this machine. It is trained from new weights with
    the team's radius, attacks and distillation from the base, until accuracy on tune has not risen for ten
    epochs, at most for the cost of base, score searches, pool and joint stage together. Writes
    RUN/narrow.onnx and RUN/narrow.safetensors and merges the results into RUN/report.json. Run the same
    command again to resume.
    """
    from eed_edge.evaluate.baselines.narrow_network import NarrowNetwork

    return train_and_print(NarrowNetwork(), **options)
