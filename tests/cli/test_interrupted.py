"""After Ctrl-C a command says what it has kept, and the command line that goes on from there."""

import shutil
import signal

import pytest

import eed_edge
from tests.conftest import TINY, call
from tests.formats.stored import STORED

RUN, BUNDLE = STORED / "run", STORED / "bundle"


def interrupt(*_: object, **__: object) -> None:
    signal.raise_signal(signal.SIGINT)


def test_training_names_what_the_run_has_and_the_same_command(tmp_path, monkeypatch):
    monkeypatch.setattr(eed_edge, "train_team", interrupt)
    words = ("train", TINY, "--run", tmp_path / "a run", "--debug")
    result = call(*words)
    assert result.exit_code == 130
    assert result.stderr == (
        f"stopped by SIGINT; nothing to keep in {tmp_path}/a run yet;"
        f" resume with: eed-edge train {TINY} --run '{tmp_path}/a run'\n"
    )


@pytest.mark.parametrize(
    ("folder", "parts"),
    [
        (STORED / "under-way" / "base", "base as far as it is trained"),
        (STORED / "under-way" / "pool", "erm-0 as far as it is trained"),
        (RUN, "base, 2 candidates, selection, joint"),
    ],
)
def test_what_is_kept_is_read_from_the_folder(folder, parts, monkeypatch, tmp_path):
    monkeypatch.setattr(eed_edge, "train_team", interrupt)
    run = shutil.copytree(folder, tmp_path / "run")
    line = call("train", TINY, "--run", run).stderr
    assert line.startswith(f"stopped by SIGINT; kept in {run}: {parts}; resume with: eed-edge train ")


def test_a_download_keeps_complete_files(monkeypatch, tmp_path):
    monkeypatch.setattr("eed_edge.train.data.download.download_dataset", interrupt)
    result = call("data", "cifar10", "--root", tmp_path)
    assert result.exit_code == 130
    assert result.stderr == (
        f"interrupted; files that are complete are kept in {tmp_path}; resume with:"
        f" eed-edge data cifar10 --root {tmp_path}\n"
    )


@pytest.mark.parametrize(
    ("there", "parts"), [(True, "{} is as it was before"), (False, "nothing is written to {}")]
)
def test_an_export_leaves_what_was_there(monkeypatch, tmp_path, there, parts):
    monkeypatch.setattr(eed_edge, "export_bundle", interrupt)
    bundle = tmp_path / "bundle"
    if there:
        bundle.mkdir()
    result = call("export", RUN, bundle, "--int8")
    assert result.exit_code == 130
    line = f"interrupted; {parts.format(bundle)}; start again with: eed-edge export {RUN} {bundle} --int8\n"
    assert result.stderr == line


@pytest.mark.parametrize("words", [(), ("--tune",), ("--cold",)])
def test_a_measurement_of_time_starts_again(monkeypatch, words):
    for name in ("measure_latency", "measure_cold"):
        monkeypatch.setattr(f"eed_edge.runtime.measure.benchmark.{name}", interrupt)
    monkeypatch.setattr("eed_edge.runtime.measure.session_tuning.tune_session", interrupt)
    result = call("bench", BUNDLE, *words)
    assert result.exit_code == 130
    assert result.stderr == (
        "interrupted; nothing of this call is kept, earlier figures are; start again with:"
        f" eed-edge bench {' '.join(map(str, (BUNDLE, *words)))}\n"
    )


def test_an_attack_keeps_its_batches(monkeypatch):
    monkeypatch.setattr(eed_edge, "evaluate_bundle", interrupt)
    result = call("attack", RUN, BUNDLE, "--images", 4)
    assert result.exit_code == 130
    assert result.stderr == (
        f"interrupted; batches that are done are kept in {RUN}; resume with:"
        f" eed-edge attack {RUN} {BUNDLE} --images 4\n"
    )
