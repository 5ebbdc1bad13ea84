"""Conditions of a timing: the processor, its clock frequency, and the other work it had meanwhile."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from time import perf_counter, process_time
from typing import Any

from eed_edge.report import machine

PROC, CPUS = Path("/proc"), Path("/sys/devices/system/cpu")
BUSY_SHARE = 0.5
"""Other work on this share of the cores spoils a timing."""
SIMD = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimddp", "i8mm", "bf16", "sve"),
)
"""Instructions that onnxruntime's kernels differ by, as Linux names them; asimd is NEON on 64-bit ARM."""


@dataclass(frozen=True)
class Snapshot:
    """The machine at one moment; None where the system reports nothing.

    load: number of processes that run or wait to, mean over a minute.
    mhz: mean over the cores.
    machine_s: processor time of all work, with the time that a hypervisor took away, in core seconds.
    process_s: processor time of this process.
    at_s: time of day, from any start.
    """

    load: float | None
    mhz: float | None
    machine_s: float | None
    process_s: float
    at_s: float


def snapshot(proc: Path = PROC, cpus: Path = CPUS) -> Snapshot:
    """Read load, frequency and processor times.

    Args:
        proc, cpus: Linux's ``/proc`` and ``/sys/devices/system/cpu``.
    """
    words = _text(proc / "loadavg").split()
    load = float(words[0]) if words else None
    return Snapshot(load, _mhz(proc, cpus), _machine_s(proc), process_time(), perf_counter())


def conditions_between(
    before: Snapshot, after: Snapshot, proc: Path = PROC, cpus: Path = CPUS
) -> dict[str, Any]:
    """Return the report's ``conditions`` of a timing between two snapshots.

    Returns:
        ``{cpu, cores, simd, governor, mhz_start, mhz_end, load_start, load_end, other_cores, seconds}``;
        ``other_cores`` is how many cores other processes kept busy on average. None where unknown.
    """
    seconds, other = after.at_s - before.at_s, None
    if before.machine_s is not None and after.machine_s is not None and seconds > 0:
        others_s = after.machine_s - before.machine_s - (after.process_s - before.process_s)
        other = max(0.0, others_s / seconds)
    this = machine()
    return {
        "cpu": this["cpu"],
        "cores": this["cores"],
        "simd": simd_flags(_text(proc / "cpuinfo")),
        "governor": _text(cpus / "cpu0" / "cpufreq" / "scaling_governor").strip() or None,
        "mhz_start": before.mhz,
        "mhz_end": after.mhz,
        "load_start": before.load,
        "load_end": after.load,
        "other_cores": other,
        "seconds": seconds,
    }


def busy_warning(conditions: Mapping[str, Any]) -> str:
    """Return a sentence if other work took too much of the machine, else an empty string.

    The load average counts this process, too; it is used at the start alone, and only where the system does
    not report processor times.
    """
    other = conditions["other_cores"]
    other = conditions["load_start"] if other is None else other
    if other is None or other < BUSY_SHARE * conditions["cores"]:
        return ""
    return (
        f"other work kept {other:.1f} of {conditions['cores']} cores busy during the timing;"
        " measure again on an idle machine"
    )


def conditions_line(conditions: Mapping[str, Any]) -> str:
    """Return the conditions as one line for people."""
    load, mhz = (
        " to ".join(_plain(conditions[f"{name}_{when}"], form) for when in ("start", "end"))
        for name, form in (("load", ".2f"), ("mhz", ".0f"))
    )
    return (
        f"load average {load}, other work on {_plain(conditions['other_cores'], '.2f')} of"
        f" {conditions['cores']} cores, {mhz} MHz, governor {conditions['governor'] or 'unknown'},"
        f" {' '.join(conditions['simd']) or 'SIMD unknown'}"
    )


def simd_flags(cpuinfo: str) -> list[str]:
    """Return the flags of ``SIMD`` that the text of ``/proc/cpuinfo`` lists, in that order."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            present = set(value.split())
            return [flag for flag in SIMD if flag in present]
    return []


def _mhz(proc: Path, cpus: Path) -> float | None:
    """Mean frequency of the cores by cpufreq, or else by cpuinfo."""
    texts = [_text(path) for path in cpus.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    by_core = [float(text) / 1000 for text in texts if text]
    if not by_core:
        lines = [line.partition(":") for line in _text(proc / "cpuinfo").splitlines()]
        by_core = [float(value) for key, _, value in lines if key.strip() == "cpu MHz"]
    return fmean(by_core) if by_core else None


def _machine_s(proc: Path) -> float | None:
    """Processor time of all work since the machine's start: every column of ``cpu`` but idle and iowait."""
    words = _text(proc / "stat").partition("\n")[0].split()
    if not words or words[0] != "cpu":
        return None
    user, nice, system, _, _, *rest = (int(word) for word in words[1:9])  # guests are in user and nice
    return float(user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _plain(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)
