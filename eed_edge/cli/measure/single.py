"""``eed-edge single``: train one pruned network with the bundle's mean latency."""

from typing import Any

import click

from eed_edge.cli.display.baseline_command import baseline_options, train_and_print
from eed_edge.cli.measuring_command import MeasuringCommand
from eed_edge.cli.options import help_examples


@click.command(
    "single",
    cls=MeasuringCommand,
    short_help="Train a baseline: one pruned network as fast as the bundle.",
    epilog=help_examples("eed-edge single run bundle --data my-pictures"),
)
@baseline_options
def command(**options: Any) -> dict[str, Any]:
    """Train the baseline single for BUNDLE of RUN: one network pruned from the base.

    It is pruned as a candidate is, with a score search on all training images, to the bundle's mean latency,
    measured on this machine. It is trained with the team's radius, attacks and distillation from the base,
    until accuracy on tune has not risen for ten epochs, at most for the cost of pool and joint stage
    together. Writes RUN/single.onnx and RUN/single.safetensors and merges the results into RUN/report.json.
    Run the same command again to resume.
    """
    from eed_edge.evaluate.baselines.single_network import SingleNetwork

    return train_and_print(SingleNetwork(), **options)
