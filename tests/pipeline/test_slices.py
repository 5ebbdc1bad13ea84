"""Working in slices: a run that stops at checkpoints, travels, and is kept small ends as it should."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from eed_edge.evaluate.baselines import narrow_network
from eed_edge.evaluate.baselines.latency_match import LatencyMatch
from eed_edge.prune.groups import analyse
from eed_edge.train.networks import checkpoint
from eed_edge.train.system.time_limit import Paused, TimeLimit
from tests.conftest import TINY, Flow, call, succeed


def networks(run: Path) -> dict[str, bytes]:
    files = [run / "base.safetensors", *run.glob("pool/*.safetensors"), *run.glob("joint/*.safetensors")]
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


def test_a_deadline_is_over_only_after_some_progress():
    deadline = TimeLimit(0)
    deadline.raise_if_expired("the pool")
    assert not deadline.expired()
    deadline.record_progress()
    with pytest.raises(Paused, match="time is up before the pool"):
        deadline.raise_if_expired("the pool")
    patient = TimeLimit(5)
    patient.record_progress()
    assert not patient.expired()
    assert not TimeLimit().expired()


def test_a_run_in_slices_on_ever_other_machines_ends_as_one_in_one_go(flow: Flow, tmp_path: Path):
    here, lines = tmp_path / "machine-0", []
    for call_number in range(30):
        result = call("train", TINY, "--run", here, "--max-minutes", 0)
        assert result.exit_code == 0, result.output
        lines.append(result.output.splitlines()[-1])
        if "\nnext:" in result.output:  # warnings follow
            break
        assert lines[-1].startswith("paused, time is up")
        assert f"; kept in {here}: base" in lines[-1]
        assert lines[-1].endswith(f"; resume with: eed-edge train {TINY} --run {here} --max-minutes 0")
        here = shutil.move(here, tmp_path / f"machine-{call_number + 1}")
    # Two epochs of base and of joint, and search and one epoch for each of four candidates.
    assert len(lines) == 2 + 2 * 4 + 2
    assert "paused, time is up after epoch 1 of 2" in lines[0]
    assert networks(here) == networks(flow.run)


def test_narrow_stops_and_goes_on_in_slices(flow: Flow, tmp_path: Path, monkeypatch):
    def at_once(dense, target, **_):
        structure = analyse(dense, torch.from_numpy(target.images[:1]))
        return LatencyMatch({group.root: group.channels for group in structure.groups}, 1.0, 1000.0, "")

    monkeypatch.setattr(narrow_network, "match_uniform", at_once)
    run = shutil.copytree(flow.run, tmp_path / "run")
    words = ("narrow", run, "--mean-ms", 1000, "--epochs", 2, "--max-minutes", 0)
    first = call(*words)
    assert (first.exit_code, (run / "narrow.safetensors").exists()) == (0, False)
    assert f"paused, time is up after epoch 1 of 2; kept in {run}: base, " in first.output
    assert "narrow as far as it is trained; resume with: eed-edge narrow " in first.output
    second = call(*words)
    assert second.exit_code == 0, second.output
    assert len(json.loads((run / "report.json").read_text())["narrow"]["history"]) == 2


COMPACT = ("--compact", "--set", 'scores.names=["erm"]')


@pytest.fixture(scope="module")
def compact(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("compact") / "run"
    succeed("train", TINY, "--run", run, *COMPACT)
    return run


def test_a_compact_run_keeps_base_and_candidates_in_half_precision(compact: Path, flow: Flow):
    files = ["base.safetensors", "base-last.safetensors", "pool/erm-0.safetensors"]
    for name in files:
        assert (compact / name).stat().st_size < 0.6 * (flow.run / name).stat().st_size
    full, rounded = (checkpoint.load_checkpoint(run / "base.safetensors")[0] for run in (flow.run, compact))
    for name, tensor in full.items():
        if "conv" in name or name.endswith("classify.weight"):
            assert rounded[name].dtype == torch.float16
            assert torch.equal(rounded[name], tensor.half())
        elif "running" in name:
            assert torch.equal(rounded[name], tensor)
    with safe_open(compact / "joint" / "member-0.safetensors", "pt") as member:
        assert {member.get_tensor(name).dtype for name in member.keys()} <= {torch.float32, torch.int64}  # noqa: SIM118


def test_rounded_weights_answer_as_whole_ones_within_noise(compact: Path, flow: Flow):
    images = torch.rand(200, 1, 8, 8)
    with torch.no_grad():
        full, rounded = (
            checkpoint.load_network(run / "base.safetensors")[0](images) for run in (flow.run, compact)
        )
    assert torch.allclose(full, rounded, atol=2e-2)
    assert (full.argmax(1) == rounded.argmax(1)).float().mean() > 0.98


def test_a_compact_run_in_slices_ends_as_one_in_one_go(compact: Path, tmp_path: Path):
    run = tmp_path / "run"
    for _ in range(2 + 2 * 2 + 2):  # as above, with two candidates
        succeed("train", TINY, "--run", run, *COMPACT, "--max-minutes", 0)
    assert networks(run) == networks(compact)


def test_weights_out_of_range_of_half_precision_stay_whole():
    huge = torch.full((10, 10), 1e6)
    assert checkpoint._halved(huge) is huge
    assert checkpoint._halved(huge / 1e6).dtype == torch.float16
