"""``eed-edge export``: write the deployable bundle of a finished run."""

from collections.abc import Mapping
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
    type=click.Choice(["confidence", "agreement", "geometric"]),
    help="Rule of the gate, also inside cascade.onnx (default: the recipe's).",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    help="Share of calib images that stopping early, or int8, may lose (default: the recipe's).",
)
@click.option("--max-submodels", type=click.IntRange(min=1), help="Default cap of sub-models per image.")
@click.option(
    "--deadline-ms",
    type=click.FloatRange(min=0),
    callback=_deadline,
    help="Default time limit per call; cascade.onnx ignores it.",
)
@click.option(
    "--abstain-share",
    type=click.FloatRange(0, 1),
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
    unpruned base, for eed-edge bench.
    """
    from eed_edge.cli.display.progress import progress_display
    from eed_edge.export.dense_network import keep_dense
    from eed_edge.export.int8.range_images import Int8Request
    from eed_edge.export.sign_bundle import bundle_signer
    from eed_edge.export.write_bundle import write_bundle
    from eed_edge.manifest import CASCADE_FILE, DENSE_FILE, NO_ATTACK
    from eed_edge.report.notes_file import read_notes
    from eed_edge.runtime.bundle.signature import signature_path
    from eed_edge.train.data.splits import splits_for_recipe
    from eed_edge.train.run_folder import open_run

    sign = None if key is None else bundle_signer(key)  # a bad key is refused before the work
    opened = open_run(run)
    own = opened.recipe.gate
    gate = replace(own, rule=rule or own.rule, max_drop=own.max_drop if max_drop is None else max_drop)
    request = None
    if int8 or with_dense_int8:
        splits = splits_for_recipe(opened.recipe, data)
        opened.check_data(splits)
        request = Int8Request(splits.train, submodels=int8, dense=with_dense_int8)
    extra = [name for name, asked in ((DENSE_FILE, with_dense), (CASCADE_FILE, single_file)) if asked]
    with progress_display() as progress:
        progress.print_line("calibrating the gate and exporting")
        made = write_bundle(
            replace(opened, recipe=replace(opened.recipe, gate=gate)),
            bundle,
            extra_files=extra,
            int8=request,
            golden=golden,
            max_submodels=max_submodels,
            deadline_ms=deadline_ms,
            abstain_share=abstain_share,
        )
        keep_dense(opened, bundle)
    if sign is not None:
        print_answer(f"signature: {sign(bundle)}")
    elif signature_path(bundle).exists():
        print_answer(f"{signature_path(bundle)} is of an earlier bundle; export with --sign, or remove it")
    spec = made.gate
    lost = getattr(made.calibration, spec.rule)
    size = sum(entry.bytes for entry in made.submodels)
    print_answer(f"{bundle}: {len(made.submodels)} sub-models, {size / 2**20:.2f} MiB")
    capped = "" if spec.max_submodels is None else f", at most {spec.max_submodels} sub-models each,"
    settings = ", ".join(f"{key} {_numbers(value)}" for key, value in spec.parameters_of(spec.rule).items())
    attacked = f", {lost.lost_attacked:.2%} clean or under an attack on any prefix"
    print_answer(
        f"gate: {spec.rule}, {settings}; on {made.calibration.images} calib images{capped} it runs"
        f" {lost.submodels_used:.2f} sub-models and loses {lost.lost_clean:.2%}"
        f" clean{'' if made.calibration.attack == NO_ATTACK else attacked}; upper 95 % bound"
        f" {lost.upper_bound:.2%}, max_drop {made.calibration.max_drop:.2%}"
    )
    if made.temperatures is not None and made.abstain is not None:
        others = (
            "" if made.calibration.attack == NO_ATTACK else f", {made.abstain.attacked:.1%} on attacked ones"
        )
        print_answer(
            f"answers: temperatures {_numbers(made.temperatures)}; abstained below"
            f" {made.abstain.threshold:.4g}, which leaves {made.abstain.clean:.1%} of the right answers on"
            f" clean calib images{others}"
        )
    if int8:
        print_answer(int8_line(made.metrics or {}))
    for text in read_notes(run).values():
        print_answer(f"warning: {text}")
    if single_file and deadline_ms is not None:
        print_answer("cascade.onnx keeps no deadline, a graph has no clock; the bundle folder does")


def _numbers(value: float | tuple[float, ...]) -> str:
    """A number, or several, with four digits."""
    return "/".join(f"{each:.4g}" for each in (value if isinstance(value, tuple) else (value,)))


def int8_line(metrics: Mapping[str, float | str]) -> str:
    """What int8 changed on the calibration images, in one line."""
    own = {name.removeprefix("int8_"): value for name, value in metrics.items() if name.startswith("int8_")}
    return (
        f"int8: right on {own['lost_clean']:.2%} fewer calib images than float32 when clean,"
        f" {own['lost_attacked']:.2%} when attacked; of {own['images']:.0f} clean and attacked images"
        f" {own['labels_unlike_float']:.0f} get another label, {own['stops_unlike_float']:.0f} another stop"
        f" than from float32, {own['labels_unlike_copy']:.0f} and {own['stops_unlike_copy']:.0f}"
        " than from a copy in torch"
    )
