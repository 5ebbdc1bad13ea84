"""``eed-edge check``: verify a bundle's files and its golden answers on this machine."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from eed_edge.cli.completion_words import complete_bundle
from eed_edge.cli.display.output import print_answer
from eed_edge.cli.measuring_command import MeasuringCommand
from eed_edge.cli.options import PATH, help_examples
from eed_edge.printable import printable


@click.command(
    "check",
    cls=MeasuringCommand,
    short_help="Verify a bundle: files, hashes, known answers.",
    epilog=help_examples("eed-edge check bundle"),
)
@click.argument("bundle", type=PATH, shell_complete=complete_bundle)
@click.option(
    "--verify",
    "key",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Refuse the bundle unless BUNDLE.sig is a signature of this public key.",
)
def command(bundle: Path, key: Path | None) -> dict[str, Any]:
    """Verify a BUNDLE: manifest, hashes, models, and its golden answers on this machine.

    hf:OWNER/NAME@REVISION names one on a model hub.
    """
    from eed_edge.runtime.bundle.golden_answers import check_bundle
    from eed_edge.runtime.bundle.hub import local_path

    result = check_bundle(local_path(bundle), trusted_key=key)
    if key is not None:
        print_answer(f"ok  signed with the key {key}")
    print_answer(
        f"ok  {printable(result.name)}: {result.submodels} sub-models, {result.files} files, {result.bytes:,}"
        " bytes verified"
    )
    ties = (
        f", {result.ties} decided otherwise within {result.tie_tolerance:g} of a tie" if result.ties else ""
    )
    print_answer(
        f"ok  {result.images} golden images answered as recorded, "
        f"probabilities at most {result.largest_difference:.1e} apart"
        f" (allowed {result.allowed_difference:g}){ties}"
    )
    return {**asdict(result), "signed": key is not None}
