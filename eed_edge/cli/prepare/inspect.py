"""``eed-edge inspect``: examine a network before it is trained."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from eed_edge.cli.completion_words import complete_recipe
from eed_edge.cli.display.output import print_answer
from eed_edge.cli.measuring_command import MeasuringCommand
from eed_edge.cli.options import data_option, help_examples, set_option


@click.command(
    "inspect",
    cls=MeasuringCommand,
    short_help="Examine a network before training it.",
    epilog=help_examples(
        "eed-edge inspect digits-resnet18",
        "eed-edge inspect my_package.nets:build --data my-pictures",
    ),
)
@click.argument("network", metavar="ARCH|RECIPE", shell_complete=complete_recipe)
@data_option
@set_option("net.width=32")
def command(network: str, root: Path | None, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Examine a network before any training, in seconds; exit code 1 if it cannot be used.

    ARCH is what net.arch may be, such as resnet18, my_package.nets:build or timm:mobilenetv3_small_100;
    RECIPE is a recipe's name or path. Prints what is wrong or worth knowing, which channels can be pruned,
    parameters and MACs, the smallest team, and about how long a training takes on this machine. Without
    --data, an ARCH sees the digits, and a RECIPE for CIFAR-10 or SVHN noise of that shape.
    """
    from eed_edge.cli.display.inspection import inspection_figures, inspection_lines
    from eed_edge.examine import examine
    from eed_edge.examine.subject import examined_network, recipe_of_subject, subject_of
    from eed_edge.examine.training_needs import training_needs

    loaded = recipe_of_subject(network, overrides, root)
    subject = subject_of(loaded, root)
    net = examined_network(loaded, subject)
    examination = examine(net, subject.few, loaded)
    for line in inspection_lines(loaded, net, subject, examination):
        print_answer(line)
    examination.raise_if_faulty()
    assert examination.dry is not None
    needs = training_needs(net, examination.dry, subject.few, loaded, train=subject.train, tune=subject.tune)
    print_answer(f"training: {needs.line}")
    return inspection_figures(loaded, net, subject, examination) | {"training": asdict(needs)}
