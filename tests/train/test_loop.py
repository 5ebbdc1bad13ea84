"""The training loop: resuming, choosing the best epoch, the guard, the weight average."""

import copy
import itertools
import os
import signal

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eed_edge.errors import CheckpointError, TrainingError
from eed_edge.recipe import Base, Data
from eed_edge.train import checkpointing, loop
from eed_edge.train.context import TrainingContext
from eed_edge.train.data.batches import Images
from eed_edge.train.networks import checkpoint
from eed_edge.train.system.epoch_choice import selection_score
from eed_edge.train.system.interruption import Interrupted, handled
from eed_edge.train.system.time_limit import Paused, TimeLimit
from eed_edge.train.validation import ValidationResult

AUGMENT = Data(flip=True, crop=1)


class KilledError(Exception):
    pass


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Flatten(),
        nn.Linear(64, 2),
    )


@pytest.fixture
def data() -> Images:
    """Two classes: bright above, bright below."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 120, (64, 1, 4, 4), generator=generator, dtype=torch.uint8)
    labels = torch.arange(64) % 2
    for i, label in enumerate(labels.tolist()):
        images[i, 0, 2 * label : 2 * label + 2] += 120
    return Images(images, labels)


def config(**changes) -> Base:
    standard = {"epochs": 4, "batch": 16, "lr": 0.05, "eps_255": 8.0, "judge_steps": 2, "averaging": 0.9}
    return Base(**{**standard, **changes})


def fit(net, data, cfg, state, on_record=lambda row: None, loss=None, **rest):
    plain = loss or (
        lambda network, clean, attacked, labels, soft: F.cross_entropy(network(attacked), labels)
    )
    context = TrainingContext(callbacks=(on_record,), augment=AUGMENT, seed=1, state=state, **rest)
    return loop.fit(net, data, data, cfg=cfg, loss=plain, context=context)


@pytest.mark.parametrize("killed_after", [0, 1, 2])
@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_killed_run_ends_bitwise_as_an_unbroken_one(data, tmp_path, monkeypatch, killed_after, averaging):
    monkeypatch.setattr(checkpointing, "AFTER_EPOCH_S", -1)
    uninterrupted = fit(small_net(), data, config(averaging=averaging), tmp_path / "whole")

    def kill(row):
        if "batch" in row and row["epoch"] > killed_after:
            raise KilledError

    with pytest.raises(KilledError):
        fit(small_net(), data, config(averaging=averaging), tmp_path / "broken", kill)
    resumed = fit(small_net(), data, config(averaging=averaging), tmp_path / "broken")
    for name in uninterrupted.best:
        assert torch.equal(uninterrupted.best[name], resumed.best[name]), name
        assert torch.equal(uninterrupted.last[name], resumed.last[name]), name


@pytest.mark.parametrize("killed_at", range(0, 17, 3))
@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_run_killed_inside_an_epoch_ends_bitwise_as_an_unbroken_one(
    data, tmp_path, monkeypatch, killed_at, averaging
):
    cfg = config(averaging=averaging, finish_epochs=1, clip=1.0)
    uninterrupted_rows, rows = [], []
    uninterrupted = fit(small_net(), data, cfg, tmp_path / "whole", uninterrupted_rows.append)
    monkeypatch.setattr(checkpointing, "EVERY_S", -1)
    monkeypatch.setattr(checkpointing, "AFTER_EPOCH_S", 1e9)
    batches_seen = itertools.count()

    def kill(row):
        if "batch" in row and next(batches_seen) == killed_at:
            raise KilledError

    if killed_at < 16:
        with pytest.raises(KilledError):
            fit(small_net(), data, cfg, tmp_path / "broken", kill)
    resumed = fit(small_net(), data, cfg, tmp_path / "broken", rows.append)
    for name in uninterrupted.best:
        assert torch.equal(uninterrupted.best[name], resumed.best[name]), name
        assert torch.equal(uninterrupted.last[name], resumed.last[name]), name
    assert resumed.history == uninterrupted.history
    if 0 < killed_at < 16:  # it did go on inside: the batch under way when it was killed is done again
        assert sum("batch" in row for row in rows) == 16 - killed_at


@pytest.mark.parametrize("change", ["device", "processes"])
def test_an_epoch_goes_on_with_other_noise_where_the_random_states_do_not_fit(
    data, tmp_path, monkeypatch, change
):
    cfg = config(epochs=2)
    uninterrupted = fit(small_net(), data, cfg, tmp_path / "whole")
    monkeypatch.setattr(checkpointing, "EVERY_S", -1)

    def kill(row):
        if row.get("batch") == 4:
            raise KilledError

    with pytest.raises(KilledError):
        fit(small_net(), data, cfg, tmp_path / "broken", kill)
    tensors, record = checkpoint.load_checkpoint(tmp_path / "broken")
    if change == "device":  # as an accelerator leaves it, whose generators have states of 16 bytes
        tensors["local/0/local/noise"] = tensors["local/0/local/cuda"] = torch.zeros(16, dtype=torch.uint8)
    else:
        tensors |= {
            name.replace("/0/", "/1/"): tensor
            for name, tensor in tensors.items()
            if name.startswith("local/0/")
        }
    del record["format"]
    checkpoint.save_checkpoint(tmp_path / "broken", tensors, record)
    resumed = fit(small_net(), data, cfg, tmp_path / "broken")
    losses = [fitted.history[0]["loss"] for fitted in (uninterrupted, resumed)]
    assert losses[1] == pytest.approx(losses[0], rel=0.3)  # a mean over the batches that are in it


@pytest.mark.parametrize("moment", ["training", "validation"])
def test_a_signal_leaves_a_checkpoint_of_the_last_batch(data, tmp_path, monkeypatch, moment):
    uninterrupted = fit(small_net(), data, config(), tmp_path / "whole")
    judge, calls = loop.validate, itertools.count()

    def interrupted_judge(*args, **rest):
        if moment == "validation" and next(calls) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return judge(*args, **rest)

    def on_record(row):
        if moment == "training" and row.get("batch") == 3 and row["epoch"] == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop, "validate", interrupted_judge)
    with pytest.raises(Interrupted), handled():
        fit(small_net(), data, config(), tmp_path / "broken", on_record)
    _, record = checkpoint.load_checkpoint(tmp_path / "broken")
    assert (record["epoch"], record["batch"]) == (1, 3 if moment == "training" else 4)
    resumed = fit(small_net(), data, config(), tmp_path / "broken")
    for name in uninterrupted.best:
        assert torch.equal(uninterrupted.best[name], resumed.best[name]), name


def test_the_time_limit_pauses_inside_an_epoch_once_a_checkpoint_is_due(data, tmp_path, monkeypatch):
    uninterrupted = fit(small_net(), data, config(), tmp_path / "whole")
    monkeypatch.setattr(checkpointing, "EVERY_S", -1)
    pauses = []
    for _ in range(30):
        try:
            resumed = fit(small_net(), data, config(), tmp_path / "slices", time_limit=TimeLimit(0))
            break
        except Paused as stop:
            pauses.append(str(stop))
    assert len(pauses) > 8
    assert "time is up in epoch 2 after batch 2 of 4" in pauses
    for name in uninterrupted.best:
        assert torch.equal(uninterrupted.best[name], resumed.best[name]), name


def test_a_checkpoint_before_a_long_validation_is_not_trained_again(data, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpointing, "BEFORE_VALIDATION_S", -1)
    monkeypatch.setattr(loop, "validate", lambda *_, **__: (_ for _ in ()).throw(KilledError))
    with pytest.raises(KilledError):
        fit(small_net(), data, config(epochs=1), tmp_path / "state")
    monkeypatch.undo()
    rows = []
    fitted = fit(small_net(), data, config(epochs=1), tmp_path / "state", rows.append)
    assert ["batch" in row for row in rows] == [False]
    assert fitted.history[0]["loss"] > 0


def test_training_learns_and_the_best_epoch_is_kept(data, tmp_path):
    net = small_net()
    cfg = config(epochs=8)
    before = loop.validate(net, data, cfg=cfg, seed=1)
    fitted = fit(net, data, cfg, tmp_path / "state")
    best = max(fitted.history, key=selection_score)["attacked"]
    assert loop.validate(net, data, cfg=cfg, seed=1).attacked == best > before.attacked
    assert fitted.summary["gap"] == pytest.approx(best - fitted.history[-1]["attacked"])


@pytest.mark.parametrize(
    ("better", "worse"),
    [((0.42, 0.67), (0.43, 0.62)), ((0.43, 0.66), (0.41, 0.67)), ((0.3, 0.6), (0.0, 0.9))],
)
def test_a_little_attacked_accuracy_is_given_for_much_clean_accuracy(better, worse):
    one, other = ({"attacked": attacked, "clean": clean} for attacked, clean in (better, worse))
    assert selection_score(one) > selection_score(other)


def test_the_weight_average_equals_the_plain_recursion(data, tmp_path):
    net, seen = small_net(), []
    fit(net, data, config(epochs=1), tmp_path / "a", lambda row: seen.append(copy.deepcopy(net.state_dict())))
    steps = seen[:-1]  # one per batch; the last call is the epoch's
    start = small_net().state_dict()
    average = start["0.weight"].clone()
    for step, state in enumerate(steps, start=1):
        decay = min(0.9, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * state["0.weight"]
    fitted = fit(small_net(), data, config(epochs=1), tmp_path / "b")
    assert torch.allclose(fitted.last["0.weight"], average, atol=1e-6)


def test_a_collapse_of_the_attacked_accuracy_goes_back_and_on_with_pgd(data, tmp_path, monkeypatch):
    accuracies = iter([0.8, 0.1, 0.7, 0.9])
    monkeypatch.setattr(loop, "validate", lambda *_, **__: ValidationResult(0.9, next(accuracies)))
    rows = []
    fit(small_net(), data, config(steps=1), tmp_path / "state", rows.append)
    epochs = [row for row in rows if "batch" not in row]
    assert [row["attack"] for row in epochs] == ["n-fgsm", "n-fgsm", "pgd", "pgd"]
    assert [("guard" in row) for row in epochs] == [False, True, False, False]


@pytest.mark.parametrize(
    "judged", [[(0.9, 0.5), (0.9, 0.1)], [(0.9, 0.8), (0.3, 0.1)]], ids=["nothing learned yet", "all fell"]
)
def test_what_is_no_collapse_is_not_taken_for_one(data, tmp_path, monkeypatch, judged):
    accuracies = iter([*judged, (0.9, 0.7), (0.9, 0.9)])
    monkeypatch.setattr(loop, "validate", lambda *_, **__: ValidationResult(*next(accuracies)))
    fitted = fit(small_net(), data, config(), tmp_path / "state")
    assert not any("guard" in row for row in fitted.history)


def test_patience_ends_training_after_so_many_epochs_without_gain(data, tmp_path, monkeypatch):
    accuracies = iter([0.5, 0.8, 0.7, 0.8, 0.9])
    monkeypatch.setattr(loop, "validate", lambda *_, **__: ValidationResult(0.9, next(accuracies)))
    fitted = fit(small_net(), data, config(epochs=9, patience=2), tmp_path / "state")
    assert [row["attacked"] for row in fitted.history] == [0.5, 0.8, 0.7, 0.8]
    assert fitted.summary["best"]["epoch"] == 1


@pytest.mark.parametrize(("finish", "attacks"), [(0, "nnnn"), (1, "nnnp"), (4, "pppp")])
def test_the_last_epochs_finish_with_pgd(data, tmp_path, finish, attacks):
    fitted = fit(small_net(), data, config(finish_epochs=finish, steps=1), tmp_path / "state")
    assert "".join(row["attack"][0] for row in fitted.history) == attacks


def test_seconds_and_speed_are_told_but_not_kept_with_the_weights(data, tmp_path):
    rows = []
    fitted = fit(small_net(), data, config(epochs=1), tmp_path / "state", rows.append)
    record = rows[-1]
    assert record["images_s"] > 64 / record["seconds"]  # judging is left out
    assert fitted.history == [
        {key: record[key] for key in record if key not in ("stage", "images_s", "seconds")}
    ]


def test_a_loss_that_is_not_finite_is_told(data, tmp_path):
    def broken(network, clean, attacked, labels, soft):
        return network(attacked).sum() * float("nan")

    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 1; lower lr"):
        fit(small_net(), data, config(), tmp_path / "state", loss=broken)
    with pytest.raises(TrainingError, match="at least 2 training images"):
        fit(small_net(), data[slice(0, 1)], config(), tmp_path / "state")


def test_a_checkpoint_of_another_network_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpointing, "AFTER_EPOCH_S", -1)
    fit(small_net(), data, config(epochs=1), tmp_path / "state")
    other = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(CheckpointError, match="do not fit the network"):
        fit(other, data, config(), tmp_path / "state")
