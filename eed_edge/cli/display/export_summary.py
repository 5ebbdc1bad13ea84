"""Summary of an exported bundle: size, gate, calibration of the answers, and what int8 changed."""

from collections.abc import Mapping
from pathlib import Path

from eed_edge.latency.predicted_times import from_metrics
from eed_edge.manifest import NO_ATTACK, Manifest


def export_summary(bundle: Path, made: Manifest) -> list[str]:
    """A line for each part of a bundle that has just been written."""
    size = sum(entry.bytes for entry in made.submodels)
    lines = [f"{bundle}: {len(made.submodels)} sub-models, {size / 2**20:.2f} MiB", _gate_line(made)]
    if made.temperatures is not None and made.abstain is not None:
        abstain, clean_only = made.abstain, made.calibration.attack == NO_ATTACK
        others = "" if clean_only else f", {abstain.attacked:.1%} on attacked ones"
        lines.append(
            f"answers: temperatures {_numbers(made.temperatures)}; abstained below"
            f" {abstain.threshold:.5g}, which leaves {abstain.clean:.1%} of the right answers on clean calib"
            f" images{others}"
        )
    if predicted := from_metrics(made.metrics, members=len(made.submodels)):
        times = _numbers(tuple(predicted["predicted_ms"]))
        lines.append(f"predicted {times} ms, one sub-model each, on {predicted['predicted_on']}")
    if made.precision == "int8":
        lines.append(int8_line(made.metrics or {}))
    return lines


def _gate_line(made: Manifest) -> str:
    spec, lost = made.gate, getattr(made.calibration, made.gate.rule)
    capped = "" if spec.max_submodels is None else f", at most {spec.max_submodels} sub-models each,"
    settings = ", ".join(f"{name} {_numbers(value)}" for name, value in spec.parameters_of(spec.rule).items())
    attacked = f", {lost.lost_attacked:.2%} clean or under an attack on any prefix"
    return (
        f"gate: {spec.rule}, {settings}; on {made.calibration.images} calib images{capped} it runs"
        f" {lost.submodels_used:.2f} sub-models and loses {lost.lost_clean:.2%}"
        f" clean{'' if made.calibration.attack == NO_ATTACK else attacked}; upper 95 % bound"
        f" {lost.upper_bound:.2%}, max_drop {made.calibration.max_drop:.2%}"
    )


def _numbers(value: float | tuple[float, ...]) -> str:
    """A number, or several, with four digits."""
    return "/".join(f"{each:.4g}" for each in (value if isinstance(value, tuple) else (value,)))


def int8_line(metrics: Mapping[str, float | str]) -> str:
    """What int8 changed on the calibration images, in one line."""
    figures = {
        name.removeprefix("int8_"): value for name, value in metrics.items() if name.startswith("int8_")
    }
    return (
        f"int8: right on {figures['lost_clean']:.2%} fewer calib images than float32 when clean,"
        f" {figures['lost_attacked']:.2%} when attacked; of {figures['images']:.0f} clean and attacked images"
        f" {figures['labels_unlike_float']:.0f} get another label,"
        f" {figures['stops_unlike_float']:.0f} another stop than from float32,"
        f" {figures['labels_unlike_copy']:.0f} and {figures['stops_unlike_copy']:.0f}"
        " than from a copy in torch"
    )
