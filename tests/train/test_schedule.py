"""Learning rates and lengths of trainings."""

import pytest

from eed_edge.recipe import Base
from eed_edge.train.schedule import has_ended, learning_rate, schedule


@pytest.mark.parametrize(
    ("name", "at", "share"),
    [
        ("onecycle", 0.2, 1.0),
        ("onecycle", 0.6, 0.5),
        ("onecycle", 1.0, 0.0),
        ("cosine", 0.5, 0.5),
        ("cosine", 0, 1.0),
        ("step", 0.49, 1.0),
        ("step", 0.5, 0.1),
        ("step", 0.75, 0.01),
        ("constant", 0.9, 1.0),
    ],
)
def test_a_schedule_passes_through_its_corner_points(name, at, share):
    assert schedule(Base(schedule=name), at) == pytest.approx(share)


def test_a_step_schedule_takes_the_recipes_own_drops_and_factors():
    cfg = Base(schedule="step", drops=(0.2, 0.6, 0.9), factors=(0.5, 0.3, 0.1))
    rates = [schedule(cfg, at) for at in (0, 0.19, 0.2, 0.59, 0.6, 0.9, 1)]
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.3, 0.1, 0.1]


def rows(*attacked):
    return [{"attacked": value, "clean": 0.9} for value in attacked]


def lived(cfg, accuracies):
    """Number of epochs with these accuracies on tune, and the rate in the middle of each."""
    history, rates = [], []
    while not has_ended(cfg, history):
        rates.append(learning_rate(cfg, history, 0.5))
        history.append({"attacked": accuracies(len(history)), "clean": 0.9})
    return len(history), rates


def test_wsd_decays_for_a_quarter_of_the_epochs_once_patience_has_run_out():
    cfg = Base(epochs=100, schedule="wsd", patience=2)
    epochs, rates = lived(cfg, lambda epoch: min(epoch, 9))  # the tenth epoch is the last better one
    assert epochs == 12 + 3
    assert rates[:12] == [0.5, *[1.0] * 11]
    assert rates[12:] == pytest.approx([2.5 / 3, 1.5 / 3, 0.5 / 3])


def test_wsd_decays_over_the_last_fifth_when_accuracy_keeps_rising():
    epochs, rates = lived(Base(epochs=20, schedule="wsd", patience=3), float)
    assert epochs == 20
    assert rates[1:16] == [1.0] * 15
    assert rates[16:] == pytest.approx([0.875, 0.625, 0.375, 0.125])


def test_wsd_is_not_longer_than_its_epochs_and_falls_to_zero():
    for most in range(2, 30):
        cfg = Base(epochs=most, schedule="wsd", patience=4)
        epochs, _ = lived(cfg, lambda epoch: 0)
        assert epochs <= most
        assert learning_rate(cfg, rows(*[0.0] * (epochs - 1)), 1.0) == pytest.approx(0)


def test_other_schedules_end_when_patience_runs_out():
    cfg = Base(epochs=9, patience=2)
    assert not has_ended(cfg, rows(0.5, 0.8, 0.7))
    assert has_ended(cfg, rows(0.5, 0.8, 0.7, 0.8))
    assert has_ended(Base(epochs=2), rows(0.5, 0.8))
