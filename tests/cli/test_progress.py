"""Progress without a terminal: a line a minute with the time left, and one at the end."""

import re
import time

from eed_edge.cli.display import progress


def test_long_counting_says_how_long_it_still_takes(monkeypatch, capsys):
    shown = progress.Progress()
    for seconds, done in ((0.0, 1), (50.0, 2), (100.0, 3), (150.0, 10)):
        monkeypatch.setattr(progress.time, "monotonic", lambda seconds=seconds: seconds)
        shown.counting("attack", done, 10)
    # three steps in the first 100 s, counted from before the first one: 7 more take about 4 minutes
    assert capsys.readouterr().out == "attack: 3 of 10, about 4 min left\nattack: done\n"


def test_without_records_a_line_a_minute_tells_the_time_left(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.5)
    with progress.progress_display() as shown:
        row = {"stage": "base", "epoch": 1, "epochs": 4, "batches": 10}
        shown.training({**row, "batch": 1})
        time.sleep(0.1)
        shown.training({**row, "batch": 2})
        time.sleep(2.5)  # a long validation
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(re.fullmatch(r"base: epoch 2/4, 12 of 40, about 1 min left", line) for line in lines)


def test_work_that_is_done_is_finishing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0)
    shown = progress.Progress()
    shown.training({"stage": "pool", "part": "nis-0", "epoch": 0, "epochs": 1, "batch": 2, "batches": 2})
    assert capsys.readouterr().out == "pool nis-0: epoch 1/1, 2 of 2, finishing\n"


def test_a_training_that_turns_out_shorter_has_less_time_left(monkeypatch, capsys):
    shown = progress.Progress()
    row = {"stage": "narrow", "epochs": 100, "batches": 10, "batch": 10}
    for seconds, epoch, epochs in ((0.0, 0, 100), (70.0, 7, 100), (140.0, 8, 9)):
        monkeypatch.setattr(progress.time, "monotonic", lambda seconds=seconds: seconds)
        shown.training({**row, "epoch": epoch, "epochs": epochs})
    assert capsys.readouterr().out.splitlines()[-1] == "narrow: epoch 9/9, 90 of 90, finishing"
