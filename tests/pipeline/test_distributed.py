"""Several processes: they share batches and candidates, agree before they start, and restart."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from eed_edge import recipe
from eed_edge.errors import RecipeError, TrainingError
from eed_edge.files.npz_archive import read_arrays
from eed_edge.pipeline import run_stages
from eed_edge.prune import pool
from eed_edge.prune.candidates import candidates
from eed_edge.recipe import Base, Data, from_dict
from eed_edge.train import loop
from eed_edge.train.context import TrainingContext
from eed_edge.train.data import batches
from eed_edge.train.data.batches import Images, on_device
from eed_edge.train.data.splits import splits_for_recipe
from eed_edge.train.networks import checkpoint
from eed_edge.train.networks.soft_labels import SOFT_LABELS_FILE, answers
from eed_edge.train.run_folder import open_run
from eed_edge.train.system import distributed
from eed_edge.train.system.distributed import SINGLE_PROCESS, Processes
from tests.conftest import TINY, Flow, succeed

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(900)  # three or more processes on a busy machine


class Pretended(Processes):
    """One of several processes, the others of which say the same."""

    def all_gather(self, value):
        return [value] * self.size


def test_one_process_alone_gives_back_what_it_got():
    tensor = torch.rand(3)
    assert SINGLE_PROCESS.all_reduce_sum(tensor) is tensor
    assert SINGLE_PROCESS.all_gather("a") == ["a"]
    assert (SINGLE_PROCESS.any(True), SINGLE_PROCESS.any(False)) == (True, False)
    before = tensor.clone()
    SINGLE_PROCESS.all_reduce_mean_([tensor])
    assert torch.equal(tensor, before)


def test_an_error_of_the_network_is_not_taken_for_a_lost_process():
    with pytest.raises(RuntimeError, match="sizes"), SINGLE_PROCESS.peer_errors():
        raise RuntimeError("sizes do not match")
    with pytest.raises(torch.OutOfMemoryError), Processes(0, 2).peer_errors():
        raise torch.OutOfMemoryError
    with pytest.raises(RuntimeError, match="can't allocate"), Processes(1, 2).peer_errors():
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
    with pytest.raises(TrainingError, match="another process has ended"), Processes(0, 2).peer_errors():
        raise RuntimeError("Connection closed by peer")


def test_the_parts_of_every_batch_make_up_the_batch_and_no_two_draw_the_same_noise():
    data = Images(torch.arange(64, dtype=torch.uint8).view(64, 1, 1, 1), torch.arange(64))
    augment = Data(crop=0, flip=False)

    def labels(part):
        generator = torch.Generator().manual_seed(5)
        labels_by_batch = [
            batch_labels
            for _, batch_labels, _ in batches.epoch(
                data, batch=16, augment=augment, generator=generator, part=part
            )
        ]
        return labels_by_batch, torch.rand(1, generator=generator).item()

    expected, _ = labels(slice(None))
    parts = [labels(Processes(rank, 4).shard) for rank in range(4)]
    for i, batch in enumerate(expected):
        together = torch.cat([labels_by_batch[i] for labels_by_batch, _ in parts])
        assert sorted(together.tolist()) == sorted(batch.tolist())
    assert len({noise for _, noise in parts}) == 4


def test_every_candidate_is_made_by_exactly_one_process(monkeypatch, tmp_path):
    cfg = recipe.load_recipe(str(TINY))
    names = [candidate.name for candidate in candidates(cfg)]
    (tmp_path / f"{names[1]}.safetensors").touch()  # made by an earlier sitting
    made = []
    monkeypatch.setattr(
        pool, "_make_candidate", lambda base, train, tune, candidate, **_: made.append(candidate.name)
    )
    images = Images(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    for rank in range(2):
        pool.build_pool(
            torch.nn.Identity(), images, images, recipe=cfg, folder=tmp_path,
            context=TrainingContext(processes=Pretended(rank, 2)),
        )  # fmt: skip
    assert sorted(made) == sorted(set(names) - {names[1]})


def test_a_batch_that_cannot_be_shared_out_is_refused():
    loop._check_parts(100, Base(batch=12), Processes(0, 3))
    for images, batch in ((100, 13), (100, 3), (5, 12)):
        with pytest.raises(TrainingError, match="change the stage's batch or --nproc-per-node"):
            loop._check_parts(images, Base(batch=batch), Processes(0, 3))


@pytest.mark.parametrize(
    ("other", "images", "until", "message"),
    [
        ({"base": {"lr": 0.2}}, "a", "pool", "base.lr is 0.1 in process 0 and 0.2 in process 1"),
        ({}, "b", "pool", "the images differ"),
        ({}, "a", "joint", "--until differs"),
    ],
)
def test_processes_that_do_not_agree_are_told_by_the_first_one(monkeypatch, other, images, until, message):
    class Split(Pretended):
        def all_gather(self, value):
            return [value, (from_dict(other).as_dict(), images, until)]

    monkeypatch.setattr(run_stages, "images_digest", lambda splits: "a")
    with pytest.raises(RecipeError, match=message):
        run_stages._check_agreement(Split(0, 2), from_dict({}), None, "pool")
    monkeypatch.setattr(distributed, "ERROR_GRACE_S", 0)
    with pytest.raises(SystemExit) as silent:
        run_stages._check_agreement(Split(1, 2), from_dict({}), None, "pool")
    assert silent.value.code == 1


SCRIPT = """
import os
from eed_edge.prune import pool
from eed_edge.train import checkpointing
checkpointing.AFTER_EPOCH_S = -1
real = pool._make_candidate
def make(base, train, tune, candidate, **rest):
    restarts = os.environ["TORCHELASTIC_RESTART_COUNT"]
    if os.environ.get("DIE") == candidate.name and restarts == "0":
        os._exit(3)
    with open(os.environ["MADE"], "a") as stream:
        there = [path.stem for path in rest["path"].parent.glob("*-?.safetensors")]
        print(candidate.name, restarts, *there, file=stream)
    real(base, train, tune, candidate, **rest)
pool._make_candidate = make
import atexit, sys
from pathlib import Path
def told():
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    print("threads at the end:", *names, file=sys.stderr)
atexit.register(told)
if os.environ["RANK"] == "1":
    sys.argv += os.environ.get("MORE", "").split()
from eed_edge.cli import main
main()
"""
DIGITS = ["data.limit=600", "base.epochs=8", "base.lr=0.1", "scores.names=[\"erm\"]", "joint.epochs=6",
          "joint.distill=0.5", "joint.soft_labels=once", "pool.soft_labels=once",
          "joint.lr=0.02", "joint.gamma=0", "base.averaging=0.95", "joint.averaging=0.9"]  # fmt: skip


def train_words(run: Path, *changes: str) -> tuple[str, ...]:
    words = ("train", str(TINY), "--run-folder", str(run))  # torchrun takes --run for its own --run-path
    return words + tuple(itertools.chain.from_iterable(("--set", change) for change in changes))


def torchrun(folder: Path, *words: str, options=(), **environment: str):
    script = folder / "train.py"
    script.write_text(SCRIPT)
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone",
         *options, str(script), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "MADE": str(folder / "made"),
             **environment},
        capture_output=True, text=True, timeout=840, check=False,
    )  # fmt: skip


def made(folder: Path) -> list[list[str]]:
    """For every making of a candidate: its name, the restarts so far, and what was there before."""
    return sorted(line.split() for line in (folder / "made").read_text().splitlines())


def judged(run: Path, stage: str) -> tuple[float, float]:
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    best = max((row for row in rows if row["stage"] == stage), key=lambda row: row["attacked"])
    return best["clean"], best["attacked"]


@pytest.mark.slow
def test_two_processes_come_to_what_one_comes_to(tmp_path: Path):
    one, two = tmp_path / "one", tmp_path / "two"
    succeed(*train_words(one, *DIGITS))
    result = torchrun(tmp_path, *train_words(two, *DIGITS))
    assert result.returncode == 0, result.stderr
    assert "FutureWarning" not in result.stderr
    assert not list(two.glob("log-*.jsonl"))
    run = open_run(two)
    train = on_device(splits_for_recipe(run.recipe, None).train, torch.device("cpu"))
    expected = answers(run.base(), train.images, mirror=run.recipe.data.flip)
    stored = read_arrays(two / SOFT_LABELS_FILE, ["logits"])["logits"]
    torch.testing.assert_close(torch.from_numpy(stored), expected, atol=0.05, rtol=0.05)  # bfloat16
    for stage in ("base", "joint"):
        for ours, theirs in zip(judged(two, stage), judged(one, stage), strict=True):
            assert ours == pytest.approx(theirs, abs=0.12)  # 120 tune images: a standard error of 0.045


@pytest.mark.slow
def test_a_process_that_dies_is_started_again_and_the_candidates_are_those_of_one_process(
    flow: Flow, tmp_path: Path
):
    """From the same base they are the same to the last bit, and so is the selection."""
    run = tmp_path / "run"
    run.mkdir()
    for name in ("run.json", "log.jsonl", "base.safetensors"):
        (run / name).write_bytes((flow.run / name).read_bytes())
    options = ("--max-restarts", "1")
    result = torchrun(tmp_path, *train_words(run), "--until", "select", options=options, DIE="ase-1")
    assert result.returncode == 0, result.stderr
    rows = made(tmp_path)
    assert {row[0] for row in rows} == {"ase-0", "ase-1", "erm-0", "erm-1"}
    assert {row[0] for row in rows if row[1] == "1"} >= {"ase-1"}
    for name, _, *there in rows:
        assert name not in there  # none is made twice
    assert any("erm-1" in there for _, restarts, *there in rows if restarts == "1")
    # A thread of gloo's that outlives the process group may abort the process at its end.
    assert "threads at the end:" in result.stderr
    assert "gloo" not in result.stderr
    assert (run / "selection.json").read_bytes() == (flow.run / "selection.json").read_bytes()
    for path in flow.run.glob("pool/*.safetensors"):
        ours, theirs = (checkpoint.load_checkpoint(each / "pool" / path.name)[0] for each in (run, flow.run))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_processes_with_different_recipes_end_with_one_line(tmp_path: Path):
    result = torchrun(tmp_path, *train_words(tmp_path / "run"), MORE="--set base.batch=64")
    assert result.returncode == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "base.batch is 32 in process 0 and 64 in process 1" in errors[0]
    assert not (tmp_path / "run").exists()
