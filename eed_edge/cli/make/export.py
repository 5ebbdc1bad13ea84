"""``eed-edge export``: write the deployable bundle of a finished run."""

from pathlib import Path

import click

import eed_edge
from eed_edge.cli.display.output import print_answer
from eed_edge.cli.options import GATE_RULE, PATH, NumberRange, bundle_argument, help_examples, run_argument


@click.command(
    "export",
    short_help="Write the bundle of a trained team.",
    epilog=help_examples(
        "eed-edge export run bundle",
        "eed-edge export run bundle-int8 --int8 --data my-pictures",
    ),
)
@run_argument
@bundle_argument
@click.option(
    "--with-dense", is_flag=True, help="Put dense.onnx, the unpruned base, into BUNDLE, not only RUN."
)
@click.option("--with-dense-int8", is_flag=True, help="Add dense-int8.onnx, the base in int8.")
@click.option("--int8", is_flag=True, help="Quantise the sub-models; refused if they lose over --max-drop.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Images as in training; int8 takes its ranges from them."
)
@click.option("--single-file", is_flag=True, help="Add cascade.onnx: ensemble and gate in one standard file.")
@click.option(
    "--golden",
    type=click.Choice(["real", "synthetic"]),
    default="real",
    show_default=True,
    help="Images that eed-edge check answers: a few of calib, or noise when those are private.",
)
@click.option(
    "--rule",
    type=GATE_RULE,
    help="Rule of the gate, also inside cascade.onnx (default: the recipe's).",
)
@click.option(
    "--max-drop",
    type=NumberRange(0, 1),
    help="Share of calib images that stopping early, or int8, may lose (default: the recipe's).",
)
@click.option("--max-submodels", type=click.IntRange(min=1), help="Default cap of sub-models per image.")
@click.option(
    "--deadline-ms",
    type=NumberRange(min=0, infinite=True),
    help="Default time limit per call; cascade.onnx ignores it.",
)
@click.option(
    "--abstain-share",
    type=NumberRange(0, 1),
    default=0.95,
    show_default=True,
    help="Share of the right answers on calib, clean and attacked, that the abstain threshold leaves.",
)
@click.option(
    "--sign",
    "key",
    type=PATH,
    metavar="KEY",
    help="Sign the bundle with this private key; the signature is BUNDLE.sig.",
)
def command(
    run: Path,
    bundle: Path,
    with_dense: bool,
    with_dense_int8: bool,
    int8: bool,
    data: Path | None,
    single_file: bool,
    golden: str,
    rule: str | None,
    max_drop: float | None,
    max_submodels: int | None,
    deadline_ms: float | None,
    abstain_share: float,
    key: Path | None,
) -> None:
    """Calibrate the gate of RUN's team and write BUNDLE: ONNX files, manifest, golden answers.

    An existing bundle is replaced atomically, and only if the new one is complete and gives the same
    answers as torch. In int8 the gate is calibrated on the quantised sub-models. RUN gets dense.onnx, the
    unpruned base, for eed-edge bench. A model card comes from eed-edge report --card.
    """
    from eed_edge.cli.display.export_summary import export_summary
    from eed_edge.cli.display.progress import progress_display
    from eed_edge.cli.display.resumable import keeping
    from eed_edge.report.notes_file import read_notes
    from eed_edge.runtime.bundle.signature import signature_path

    state = f"{bundle} is as it was before" if bundle.exists() else f"nothing is written to {bundle}"
    with keeping(state, again="start again"), progress_display() as progress:
        progress.print_line("calibrating the gate and exporting")
        made = eed_edge.export_bundle(
            run,
            bundle,
            data,
            int8=int8,
            with_dense=with_dense,
            with_dense_int8=with_dense_int8,
            single_file=single_file,
            golden=golden,
            rule=rule,
            max_drop=max_drop,
            max_submodels=max_submodels,
            deadline_ms=deadline_ms,
            abstain_share=abstain_share,
            private_key=key,
        )
    if key is not None:
        print_answer(f"signature: {signature_path(bundle)}")
    elif signature_path(bundle).exists():
        print_answer(f"{signature_path(bundle)} is of an earlier bundle; export with --sign, or remove it")
    for line in export_summary(bundle, made):
        print_answer(line)
    for text in read_notes(run).values():
        print_answer(f"warning: {text}")
    if single_file and deadline_ms is not None:
        print_answer("cascade.onnx keeps no deadline, a graph has no clock; the bundle folder does")
