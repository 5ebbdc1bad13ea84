"""The tables at the end of each stage say what the run folder holds; one process alone speaks."""

import json

import pytest

from eed_edge.cli.display.progress import progress_display
from eed_edge.cli.display.stage_tables import stage_table
from eed_edge.cli.display.tables import further_lines
from eed_edge.train.networks import checkpoint
from tests.conftest import Flow
from tests.html import sample


@pytest.mark.parametrize(
    ("stage", "files"),
    [
        ("base", {"base": "base"}),
        ("pool", {f"{s}-{i}": f"pool/{s}-{i}" for s in ("erm", "ase") for i in (0, 1)}),
    ],
)
def test_the_table_of_a_training_has_the_best_epoch_of_every_network(flow: Flow, stage, files):
    title, *lines = stage_table(stage, flow.run).splitlines()
    assert title.split() == [stage, "best", "epoch", "clean", "attacked", "seconds", "images/s"]
    assert len(lines) == len(files)
    for line in lines:
        name, epoch, clean, attacked, seconds, speed = line.split()
        best = checkpoint.load_checkpoint(flow.run / f"{files[name]}.safetensors")[1]["training"]["best"]
        assert epoch.startswith(f"{best['epoch'] + 1}/")
        assert (float(clean), float(attacked)) == pytest.approx((best["clean"], best["attacked"]), abs=5e-4)
        assert float(seconds) > 0
        assert float(speed) > 0


def test_the_table_of_the_selection_has_members_diversity_and_the_reason(flow: Flow):
    selection = json.loads((flow.run / "selection.json").read_text())
    lines = stage_table("select", flow.run).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == selection["members"]
    assert f"robust diversity {selection['rd']:.3f}" in lines[-1]
    assert lines[-1].endswith(selection["reason"])


def test_the_best_epoch_is_the_one_that_training_keeps(tmp_path):
    rows = [(0.48, 0.7, 0.48), (0.478, 0.72, 0.478), (0.49, 0.72, 0.4)]
    lines = [
        {
            "stage": "joint", "epoch": i, "epochs": 3, "clean": clean, "attacked": attacked,
            "attacked_first": first,
        }
        for i, (attacked, clean, first) in enumerate(rows)
    ]  # fmt: skip
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    assert stage_table("joint", tmp_path).splitlines()[1].split()[:4] == ["joint", "2/3", "0.720", "0.478"]


def test_a_log_of_an_older_version_has_no_speed(tmp_path):
    row = {"stage": "joint", "epoch": 0, "epochs": 1, "clean": 0.5, "attacked": 0.25, "seconds": 2.0}
    (tmp_path / "log.jsonl").write_text(json.dumps(row) + "\n")
    assert stage_table("joint", tmp_path).splitlines()[1].split() == [
        "joint",
        "1/1",
        "0.500",
        "0.250",
        "2.0",
        "-",
    ]


def test_the_slowdown_has_the_time_that_bench_measured():
    report = sample.full_report()
    (line,) = (line for line in further_lines(report) if line.startswith("slowdown:"))
    assert "0.700 ms mean, 1.900 ms p99" in line
    report["latency"]["slowdown"] = {"mean_ms": 0.8, "p99_ms": 2.5}
    (line,) = (line for line in further_lines(report) if line.startswith("slowdown:"))
    assert "0.800 ms mean, 2.500 ms p99" in line


@pytest.mark.parametrize(("rank", "printed"), [("0", "hello\n"), ("1", "")])
def test_of_several_processes_the_first_one_alone_speaks(monkeypatch, capsys, rank, printed):
    monkeypatch.setenv("RANK", rank)
    with progress_display() as progress:
        progress.print_line("hello")
    assert capsys.readouterr().out == printed
