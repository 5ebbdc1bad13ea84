"""The conditions of a timing, from files as Linux writes them, and from none."""

import os
import sys

import pytest

from eed_edge.runtime.measure import conditions as module
from eed_edge.runtime.measure.conditions import (
    Snapshot,
    busy_warning,
    conditions_between,
    conditions_line,
    simd_flags,
    snapshot,
)

XEON = """processor\t: 0
model name\t: Some Xeon
cpu MHz\t\t: 2100.000
flags\t\t: fpu avx avx2 avx512f avx512_vnni amx_tile amx_int8 avx_vnni_more

processor\t: 1
cpu MHz\t\t: 2300.000
flags\t\t: fpu avx2
"""
ARM = "processor : 0\nBogoMIPS : 108.00\nFeatures : fp asimd evtstrm asimddp\n"
# user nice system idle iowait irq softirq steal guest guest_nice
STAT = "cpu  100 20 30 9000 500 4 6 40 77 8\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
needs_ticks = pytest.mark.skipif(sys.platform == "win32", reason="no clock ticks there")


@pytest.fixture
def machine(tmp_path):
    """Writes files of ``/proc`` and ``/sys/devices/system/cpu``; returns the two folders."""

    def write(proc=None, cpus=None):
        for root, files in (("proc", proc or {}), ("cpu", cpus or {})):
            for name, text in files.items():
                path = tmp_path / root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return tmp_path / "proc", tmp_path / "cpu"

    return write


def test_the_simd_flags_that_matter_are_listed_and_no_part_of_another_name():
    assert simd_flags(XEON) == ["avx2", "avx512f", "avx512_vnni", "amx_int8"]
    assert simd_flags(ARM) == ["asimd", "asimddp"]
    assert simd_flags("") == []


@needs_ticks
def test_load_frequency_and_processor_time_are_read_as_linux_writes_them(machine):
    folders = machine({"loadavg": "1.25 0.75 0.50 2/345 6789\n", "cpuinfo": XEON, "stat": STAT})
    conditions = snapshot(*folders)
    assert (conditions.load, conditions.mhz) == (1.25, 2200)
    assert conditions.machine_s == (100 + 20 + 30 + 4 + 6 + 40) / os.sysconf("SC_CLK_TCK")


def test_cpufreq_goes_before_cpuinfo(machine):
    rates = {f"cpu{i}/cpufreq/scaling_cur_freq": f"{khz}\n" for i, khz in ((0, 1_000_000), (1, 3_000_000))}
    folders = machine({"cpuinfo": XEON}, {**rates, "cpu0/cpufreq/scaling_governor": "powersave\n"})
    now = snapshot(*folders)
    assert now.mhz == 2000
    assert conditions_between(now, now, *folders)["governor"] == "powersave"


def test_a_machine_that_tells_nothing_has_none_and_no_warning(machine):
    folders = machine()
    conditions = conditions_between(snapshot(*folders), snapshot(*folders), *folders)
    for key in ("governor", "mhz_start", "mhz_end", "load_start", "load_end", "other_cores"):
        assert conditions[key] is None
    assert conditions["simd"] == []
    assert busy_warning(conditions) == ""
    assert "load average unknown to unknown" in conditions_line(conditions)


def between(process_s, machine_s, seconds=10.0, load=0.0):
    return conditions_between(
        Snapshot(load, 2100, 50.0, 3.0, 100.0),
        Snapshot(
            load + 1, 2000, None if machine_s is None else 50.0 + machine_s, 3.0 + process_s, 100 + seconds
        ),
    )


def test_work_of_others_is_what_the_machine_did_beside_this_process():
    conditions = between(process_s=9.5, machine_s=24.5)
    assert conditions["other_cores"] == pytest.approx(1.5)
    assert (
        conditions["load_start"],
        conditions["load_end"],
        conditions["mhz_start"],
        conditions["mhz_end"],
    ) == (
        0,
        1,
        2100,
        2000,
    )
    assert conditions["seconds"] == 10
    assert between(process_s=10.1, machine_s=10.0)["other_cores"] == 0  # ticks are coarse


@pytest.mark.parametrize(
    ("cores", "conditions", "busy"),
    [
        (2, between(process_s=10, machine_s=19), False),
        (2, between(process_s=10, machine_s=20), True),
        (4, between(process_s=10, machine_s=20), False),  # the load at the end is our own
        (4, between(process_s=10, machine_s=None, load=2.5), True),
        (4, between(process_s=10, machine_s=None, load=1.5), False),
    ],
)
def test_a_warning_comes_where_others_keep_half_of_the_cores_busy(cores, conditions, busy):
    warning = busy_warning({**conditions, "cores": cores})
    assert bool(warning) == busy
    if busy:
        assert f"of {cores} cores busy" in warning
        assert "\n" not in warning


@needs_ticks
@pytest.mark.skipif(not module.PROC.exists(), reason="Linux only")
def test_this_machine_counts_the_work_of_this_process_too():
    before = snapshot()
    while (after := snapshot()).process_s < before.process_s + 0.1:
        sum(range(1000))
    assert after.machine_s - before.machine_s > 0.1 - 0.03  # ticks are coarse
    assert conditions_between(before, after)["other_cores"] is not None
