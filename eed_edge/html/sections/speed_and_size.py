"""Speed and size of every network: times, speed-ups, memory, parameters, MACs and files."""

from collections.abc import Mapping
from typing import Any

from eed_edge.html.components import Cell, Row, Section, Table, row
from eed_edge.html.inputs import PageInputs
from eed_edge.provenance import BASELINES
from eed_edge.report import formats
from eed_edge.report.names import NETWORKS, OTHER_BUNDLE
from eed_edge.runtime.measure.conditions import busy_warning, conditions_line

QUARTILES = {"mean_ms": ("mean_low_ms", "mean_high_ms"), "p50_ms": ("p25_ms", "p75_ms")}
PERCENTILES = {
    "mean_ms": "mean",
    "p50_ms": "median",
    "p90_ms": "90th percentile",
    "p99_ms": "99th percentile",
}
OVER = {"speedups": "dense", "speedups_int8": "dense int8"}
SPEEDUPS = {
    "dynamic": "clean images",
    "pgd20": "stops as under PGD-20",
    "slowdown": "stops as under the slowdown attack",
    "static": "all sub-models run",
}
PROCESS = {
    "load_ms": ("Load", formats.ms),
    "first_answer_ms": ("First answer, with loading", formats.ms),
    "mean_rss_mib": ("Memory, mean", formats.mebibytes),
    "peak_rss_mib": ("Memory, peak", formats.mebibytes),
}
PROGRAMS = {
    "dense": "dense",
    "dense_int8": "dense int8",
    "narrow": "narrow",
    "single": "single",
    "ensemble": "team",
    "other_bundle": OTHER_BUNDLE.lower(),
    "single_file": "cascade.onnx",
}


def speed_section(sources: PageInputs) -> Section:
    """Time per image of each network, the speed-ups of the team, and what a new process costs."""
    report, latency = sources.report, sources.report["latency"]
    names = {**NETWORKS, "other_bundle": OTHER_BUNDLE}
    shown = [name for name in names if name in latency]
    rows = tuple(
        Row(title, tuple(_with_quartiles(latency[name], key) for name in shown))
        for key, title in PERCENTILES.items()
    )
    tables = [Table("Time per image", ("", *(names[name] for name in shown)), rows)]
    tables += [*_speedups_table(latency), *_process_table(latency)]
    threads = latency["threads"]
    cpu = f" on {report['machine']['cpu']}" if "machine" in report else ""
    caption = [f"{threads} thread{'' if threads == 1 else 's'}{cpu}, {formats.images(latency['images'])}."]
    if latency.get("indicative"):
        caption.append("Timed on the bundle's golden images alone: indicative only.")
    conditions, warning = latency.get("conditions"), ""
    if conditions is not None:
        caption[0] += " Small: quartiles, of the rounds' means beside a mean, of all calls beside a median."
        caption.append(f"Conditions: {conditions_line(conditions)}.")
        warning = busy_warning(conditions)
    if "overhead_ratio" in latency:
        ratio = formats.times(latency["overhead_ratio"])
        caption.append(f"Gate and bookkeeping: the team takes {ratio} the time of its bare sub-models.")
    return Section(
        sources=("bench",),
        caption=tuple(caption),
        warnings=(warning,) if warning else (),
        tables=tuple(tables),
    )


def _with_quartiles(times: Mapping[str, float], key: str) -> Cell:
    """A time with its quartiles, which reports of the earlier clock lack."""
    low, high = QUARTILES.get(key, ("", ""))
    detail = f"{formats.plain(times[low])}–{formats.plain(times[high])}" if low in times else ""
    return Cell(formats.ms(times[key]), detail)


def _speedups_table(latency: Mapping[str, Any]) -> list[Table]:
    """Speed-ups with their spread; only reports that were timed in blocks have it."""
    over = [(key, title) for key, title in OVER.items() if latency.get(key)]
    if not over:
        return []
    rows = tuple(
        Row(title, tuple(_spread(latency[key].get(name)) for key, _ in over))
        for name, title in SPEEDUPS.items()
        if any(name in latency[key] for key, _ in over)
    )
    caption = "Speed of the team, median over rounds with quartiles, relative to"
    return [Table(caption, ("", *(title for _, title in over)), rows)]


def _spread(part: Mapping[str, float] | None) -> Cell:
    if part is None:
        return Cell(formats.NOTHING)
    return Cell(
        formats.times(part["median"]), f"{formats.times(part['low'])} to {formats.times(part['high'])}"
    )


def _process_table(latency: Mapping[str, Any]) -> list[Table]:
    """Loading, first answer and memory of a new process for each program."""
    keys = [key for key in PROCESS if isinstance(latency.get(key), Mapping)]
    programs = [name for name in PROGRAMS if any(name in latency[key] for key in keys)]
    if not programs:
        return []
    rows = tuple(
        row(PROGRAMS[name], *(PROCESS[key][1](latency[key].get(name)) for key in keys)) for name in programs
    )
    columns = ("", *(PROCESS[key][0] for key in keys))
    return [
        Table(
            "Loading and memory, each network in a process of its own",
            columns,
            rows,
            stacked=True,
            folded=True,
        )
    ]


def size_section(sources: PageInputs) -> Section:
    """Parameters, MACs and bytes of the dense base, the baselines, the team and each member."""
    report, cost = sources.report, sources.report["cost"]
    on_disk = report.get("latency", {}).get("disk_bytes", {})
    form = {"params": formats.amount, "macs": formats.amount, "bytes": formats.mib}
    titles = {"params": "Parameters", "macs": "MACs", "bytes": "Model files"}
    keys = [key for key in titles if key in cost]
    rows = [row("dense", *(form[key](cost[key]["dense"]) for key in keys))]
    if "dense_int8" in cost.get("bytes", {}):
        in_int8 = {key: cost[key].get("dense_int8", cost[key]["dense"]) for key in keys}  # only files shrink
        rows.append(row("dense int8", *(form[key](in_int8[key]) for key in keys)))
    for name in (name for name in BASELINES if name in report):
        sizes = {**report[name], "bytes": on_disk.get(name)}
        rows.append(row(name, *(form[key](sizes.get(key)) for key in keys)))
    rows.append(row("whole team", *(form[key](cost[key]["ensemble"]) for key in keys)))
    for i, entry in enumerate(sources.manifest.submodels):
        made = f"score {entry.importance}, subset {entry.subset}"
        rows.append(
            row(f"sub-model {i + 1}", *(form[key](cost[key]["each"][i]) for key in keys), detail=made)
        )
    caption = [_gate_words(sources)]
    if "sparsity" in report:
        caption.append(
            f"Sparsity {formats.percent(report['sparsity'])}: the team does without at least this share of"
            " the dense network's parameters and of its MACs."
        )
    if "rd" in report:
        caption.append(
            f"Robust diversity of the team {report['rd']:.3f}: how rarely two members err on the same"
            " attacked image; 1 is never."
        )
    table = Table("Size", ("", *(titles[key] for key in keys)), tuple(rows))
    return Section(sources=("attack",), caption=tuple(caption), tables=(table,))


def _gate_words(sources: PageInputs) -> str:
    """The gate's rule and its setting in a sentence."""
    gate, members = sources.manifest.gate, len(sources.manifest.submodels)
    parameters = gate.parameters_of(gate.rule)
    if gate.rule == "agreement":
        how = f"stops when {parameters['votes']} sub-models agree"
    elif gate.rule == "confidence":
        values = parameters.get("thresholds", [parameters["threshold"]])
        how = f"stops at a probability of {' / '.join(map(confidence_words, values))}"
    else:
        how = f"{gate.rule}, {formats.settings(parameters)}"
    return f"{members} sub-models in running order. Gate ({gate.rule}): {how}."


def confidence_words(threshold: float) -> str:
    """A threshold of the rule ``confidence``; one above 1 never stops early."""
    return "never" if threshold > 1 else formats.plain(threshold)
