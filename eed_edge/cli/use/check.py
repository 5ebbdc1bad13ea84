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

    found = check_bundle(local_path(bundle), trusted_key=key)
    if key is not None:
        print_answer(f"ok  signed with the key {key}")
    print_answer(
        f"ok  {printable(found.name)}: {found.submodels} sub-models, {found.files} files, {found.bytes:,}"
        " bytes verified"
    )
    ties = f", {found.ties} decided otherwise within {found.tie_tolerance:g} of a tie" if found.ties else ""
    print_answer(
        f"ok  {found.images} golden images answered as recorded, "
        f"probabilities at most {found.largest_difference:.1e} apart"
        f" (allowed {found.allowed_difference:g}){ties}"
    )
    return {**asdict(found), "signed": key is not None}
