"""The figures of version 0.1 are read, and today's commands write them under the same names."""

import json
import shutil
import subprocess

import pytest

from tests.conftest import call
from tests.formats.stored import DATA, STORED, content, grown, keys, listed

BUNDLE = STORED / "bundle"
REPORT = listed("""
    accuracy adaptive attacks commands commit cost curves evaluated latency machine narrow prefixes rd
    recipe replay seed shift slowdown sparsity submodels_used suite""")
NEW_PARTS = ("paired", "duplicates")  # of the report since version 0.1
PERCENTILES = ("p50_ms", "p90_ms", "p99_ms", "mean_ms")
NETWORKS = ("dense", "narrow", "static", "dynamic", "single_file")
PROGRAMS = ("dense", "narrow", "ensemble", "single_file")
LATENCY = {"threads", "spinning", "arena", "repeats", "batch", "images", "submodels[]"}
LATENCY |= {"speedup_mean", "speedup_worst", "overhead_ratio", "overhead_us_per_submodel"}
LATENCY |= {f"{name}.{key}" for name in (*NETWORKS, "submodels[]") for key in PERCENTILES}
LATENCY |= {f"{key}.{name}" for key in ("load_ms", "first_ms", "peak_rss_mib") for name in PROGRAMS}
TIMES_ADDED = ("p25_ms", "p75_ms", "mean_low_ms", "mean_high_ms")
CONDITIONS = listed("cpu cores simd[] governor mhz_start mhz_end load_start load_end other_cores seconds")
SPEEDUPS = {
    f"speedups.{name}" for name in ("narrow", "static", "dynamic", "single_file", "pgd20", "slowdown")
}
LATENCY_ADDED = {f"{name}.{key}" for name in (*NETWORKS, "submodels[]") for key in TIMES_ADDED}
LATENCY_ADDED |= {
    f"{name}.{key}" for name in ("prefixes[]", "pgd20", "slowdown") for key in (*PERCENTILES, *TIMES_ADDED)
}
LATENCY_ADDED |= {
    f"{name}.{key}" for name in (*SPEEDUPS, "narrow_over_dynamic") for key in ("median", "low", "high")
}
LATENCY_ADDED |= {"bundle", "prefixes[]"} | {f"conditions.{key}" for key in CONDITIONS}
LATENCY_ADDED |= {
    f"{key}.{name}" for key in ("first_answer_ms", "mean_rss_mib", "disk_bytes") for name in PROGRAMS
}
LATENCY_ADDED |= {f"unneeded_bytes.{name}" for name in ("cascade.onnx", "dense.onnx")}
LATENCY_ADDED |= {f"images_per_second.{name}" for name in (*NETWORKS, "pgd20", "slowdown")}
ADDED = {f"latency.{key}" for key in LATENCY_ADDED}
ADDED |= {f"{part}.conditions.{key}" for part in ("slowdown", "curves.threshold") for key in CONDITIONS}
ADDED |= {"narrow.conditions", "narrow.budget.epochs", "narrow.budget.used_up", "slowdown.settings.restarts"}
ADDED |= {
    "machine.date",
    "precision",
    "curves.threshold.rows[].deployed",
    "shift.no_class[].abstained",
    "shift.attacked[]",
}
SHARES = ("abstained", "abstained_right", "abstained_wrong", "ece_uncalibrated")
ADDED |= {f"shift.{part}.{key}" for part in ("clean", "attacked[]", "corruptions[]") for key in SHARES}
ADDED |= {f"shift.attacked[].{key}" for key in ("name", "accuracy", "interval[]", "submodels_used", "ece")}
ADDED |= {"shift.clean.images"}
"""What the clock in blocks and the later baselines have added to reports; those of version 0.1 lack it."""
NARROW = listed("params macs mean_ms target_ms ratio epochs history[]")
NARROW |= {"budget.counted", "budget.epochs_by_hand", "budget.macs.narrow", "training.gap"}
PLAN = listed("mean_ms target_ms epochs by_hand macs.narrow team widths.body.0 widths.body.3 widths.body.6")
TUNED = ("threads", "spinning", "arena", "typical_ms", *PERCENTILES)
ROW = {"dense", "narrow", "static", "dynamic", "images"}
ROW |= {f"interval.{name}[]" for name in ("dense", "narrow", "static", "dynamic")}


def names(report: dict) -> set[str]:
    """All keys but the versions of packages, which differ by machine, the recipe's, and newer parts."""
    left_out = ("machine.versions.", "recipe.", *(f"{part}." for part in NEW_PARTS))
    return {key for key in keys(report) if not key.startswith(left_out)}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The stored run after everything that can be measured has been measured again."""
    folder, started = tmp_path_factory.mktemp("measured"), {}
    run = shutil.copytree(STORED / "run", folder / "run")
    for name in ("report.json", "evaluation.npz", "narrow.onnx"):
        (run / name).unlink()
    start = subprocess.run

    def once(command, **settings):
        """Each program by itself is started once instead of three times."""
        if (key := tuple(command)) not in started:
            started[key] = start(command, **settings)
        return started[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("subprocess.run", once)
        for words in (
            ("narrow", run, BUNDLE, "--data", DATA),
            ("attack", run, BUNDLE, "--data", DATA, "--json", folder / "attack.json"),
            ("bench", BUNDLE, "--run", run, "--repeats", 1, "--json", folder / "bench.json"),
        ):
            result = call(*words)
            assert result.exit_code == 0, result.stderr
    return folder


def test_the_stored_report_has_these_parts():
    report = content(STORED / "run" / "report.json")
    assert report.keys() == REPORT
    assert sorted(report["accuracy"]) == ["adaptive", "apgd", "clean", "pgd20"]
    assert all(keys(row) == ROW for row in report["accuracy"].values())
    assert keys(report["latency"]) == LATENCY
    assert keys(report["narrow"]) >= NARROW
    assert sorted(report["commands"]) == ["attack", "bench", "narrow"]
    assert report["accuracy"]["clean"]["dynamic"] == pytest.approx(0.775)


def test_narrow_attack_and_bench_write_the_report_under_its_stored_names(measured):
    new, stored = content(measured / "run" / "report.json"), content(STORED / "run" / "report.json")
    assert names(new) == names(stored) | ADDED
    assert new.keys() == REPORT | set(NEW_PARTS) | {"precision"}


@pytest.mark.parametrize("command", ["attack", "bench"])
def test_json_files_of_attack_and_bench_have_their_stored_names(measured, command):
    new, stored = content(measured / f"{command}.json"), content(STORED / "cli" / f"{command}.json")
    assert names(new) - ADDED == names(stored) - ADDED
    if command == "bench":
        assert list(new) == ["machine", "commit", "commands", "latency", "submodels_used"]
        assert keys(new["latency"]) == LATENCY | LATENCY_ADDED


def test_clean_accuracy_and_cost_are_as_they_were(measured):
    new, stored = content(measured / "run" / "report.json"), content(STORED / "run" / "report.json")
    assert grown(new["recipe"], stored["recipe"])
    for key in ("cost", "sparsity", "rd", "seed", "suite", "evaluated"):
        assert new[key] == stored[key], key
    assert new["accuracy"]["clean"] == stored["accuracy"]["clean"]
    for key in ("params", "macs", "widths", "epochs", "training", "target_ms"):
        assert new["narrow"][key] == stored["narrow"][key], key


def test_tune_writes_its_stored_names(tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    result = call("bench", BUNDLE, "--tune", "--repeats", 1, "--json", tmp_path / "tune.json")
    assert result.exit_code == 0, result.stderr
    tuned, stored = content(tmp_path / "tune.json"), content(STORED / "cli" / "tune.json")
    assert list(tuned) == [*stored, "conditions"] == ["machine", "commit", "batch", "tuned", "conditions"]
    assert all(tuple(row) == TUNED for row in stored["tuned"])
    assert all(tuple(row) == (*TUNED, *TIMES_ADDED) for row in tuned["tuned"])


def test_narrow_json_has_these_keys_and_narrow_refuses_a_plan_of_other_ones(run):
    plan = content(run / "narrow.json")
    assert keys(plan) == PLAN
    assert plan["widths"] == {"body.0": 4, "body.3": 4, "body.6": 4}
    (run / "narrow.json").write_text(json.dumps({**plan, "more": 1}))
    result = call("narrow", run, BUNDLE, "--data", DATA)
    assert result.exit_code == 1
    assert "narrow.json is damaged" in result.stderr


def test_report_shows_the_stored_figures(run, tmp_path):
    result = call("report", run, BUNDLE)
    assert result.exit_code == 0, result.stderr
    clean = next(line.split() for line in result.stdout.splitlines() if line.startswith("clean"))
    assert clean[1::2] == ["82.50", "12.50", "77.50", "77.50", "40"]
    page = call("report", run, BUNDLE, "--html", tmp_path / "report.html")
    assert page.exit_code == 0, page.stderr
    assert "Not measured" not in (tmp_path / "report.html").read_text()
