"""Learning curves: what is written is what the epochs were; without the package a line says so."""

import sys

import pytest

from eed_edge.errors import DeviceError
from eed_edge.train.system.tensorboard import curves

ROW = {"stage": "pool", "part": "nis-0", "epochs": 2, "clean": 0.5, "lr": 0.1, "images_s": 99.0}


def test_every_epoch_is_a_point_of_its_stages_curve(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with curves(tmp_path) as (callback,):
        callback({**ROW, "epoch": 0, "batch": 1, "batches": 2})
        for epoch in range(2):
            callback({**ROW, "epoch": epoch, "attacked": 0.1 * (epoch + 1)})
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    points = [(point.step, round(point.value, 6)) for point in events.Scalars("attacked/pool-nis-0")]
    assert points == [(1, 0.1), (2, 0.2)]
    assert "loss/pool-nis-0" not in events.Tags()["scalars"]


def test_without_a_folder_there_is_no_callback():
    with curves(None) as callbacks:
        assert callbacks == ()


def test_without_the_package_one_line_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(DeviceError, match=r"pip install '\.\[tensorboard\]'"), curves(tmp_path):
        pass
