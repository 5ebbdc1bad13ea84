"""``eed-edge export``: write the deployable bundle of a finished run."""

from dataclasses import replace
from pathlib import Path

import click

from eed_edge.cli.display.output import print_answer
from eed_edge.cli.options import PATH, bundle_argument, run_argument


def _deadline(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Reject NaN, which ``FloatRange`` accepts; infinity means no deadline."""
    from eed_edge.runtime.arguments import deadline

    return deadline(value)


@click.command("export")
@run_argument
@bundle_argument
@click.option("--with-dense", is_flag=True, help="Add dense.onnx, the unpruned base, for comparison.")
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
    type=click.Choice(["confidence", "agreement", "geometric"]),
    help="Rule of the gate, also inside cascade.onnx (default: the recipe's).",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    help="Share of calib images that stopping early may lose (default: the recipe's).",
)
@click.option("--max-submodels", type=click.IntRange(min=1), help="Default cap of sub-models per image.")
@click.option(
    "--deadline-ms",
    type=click.FloatRange(min=0),
    callback=_deadline,
    help="Default time limit per call; cascade.onnx ignores it.",
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
    single_file: bool,
    golden: str,
    rule: str | None,
    max_drop: float | None,
    max_submodels: int | None,
    deadline_ms: float | None,
    key: Path | None,
) -> None:
    """Calibrate the gate of RUN's team and write BUNDLE: ONNX files, manifest, golden answers.

    An existing bundle is replaced atomically, and only if the new one is complete and gives the same
    answers as torch.
    """
    from eed_edge.cli.display.progress import progress_display
    from eed_edge.export.sign_bundle import bundle_signer
    from eed_edge.export.write_bundle import write_bundle
    from eed_edge.runtime.bundle.signature import signature_path
    from eed_edge.train.run_folder import open_run

    sign = None if key is None else bundle_signer(key)  # a bad key is refused before the work
    opened = open_run(run)
    own = opened.recipe.gate
    gate = replace(own, rule=rule or own.rule, max_drop=own.max_drop if max_drop is None else max_drop)
    with progress_display() as progress:
        progress.print_line("calibrating the gate and exporting")
        made = write_bundle(
            replace(opened, recipe=replace(opened.recipe, gate=gate)),
            bundle,
            with_dense=with_dense,
            single_file=single_file,
            golden=golden,
            max_submodels=max_submodels,
            deadline_ms=deadline_ms,
        )
    if sign is not None:
        print_answer(f"signature: {sign(bundle)}")
    elif signature_path(bundle).exists():
        print_answer(f"{signature_path(bundle)} is of an earlier bundle; export with --sign, or remove it")
    spec = made.gate
    lost = getattr(made.calibration, spec.rule)
    size = sum(entry.bytes for entry in made.submodels)
    print_answer(f"{bundle}: {len(made.submodels)} sub-models, {size / 2**20:.2f} MiB")
    capped = "" if spec.max_submodels is None else f", at most {spec.max_submodels} sub-models each,"
    settings = ", ".join(f"{key} {value:.4g}" for key, value in spec.parameters_of(spec.rule).items())
    print_answer(
        f"gate: {spec.rule}, {settings}; on {made.calibration.images} calib images{capped} it runs"
        f" {lost.submodels_used:.2f} sub-models and loses {lost.lost_clean:.2%} clean,"
        f" {lost.lost_attacked:.2%} attacked; upper 95 % bound {lost.upper_bound:.2%},"
        f" max_drop {made.calibration.max_drop:.2%}"
    )
    if single_file and deadline_ms is not None:
        print_answer("cascade.onnx keeps no deadline, a graph has no clock; the bundle folder does")
