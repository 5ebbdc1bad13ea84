"""Progress without a terminal: a line a minute with the time left, and one at the end."""

from eed_edge.cli import progress


def test_long_counting_says_how_long_it_still_takes(monkeypatch, capsys):
    clock = iter([0.0, 50.0, 100.0, 150.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    shown = progress.Progress()
    for done in (1, 2, 3, 10):
        shown.counting("attack", done, 10)
    # three steps in the first 100 s, counted from before the first one: 7 more take about 4 minutes
    assert capsys.readouterr().out == "attack: 3 of 10, about 4 min left\nattack: done\n"
