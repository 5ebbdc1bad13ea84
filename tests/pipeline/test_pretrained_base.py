"""A run that starts from pretrained weights: its log and record, without epochs, resumed without the file."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from eed_edge import recipe
from eed_edge.errors import RecipeError
from eed_edge.evaluate.baselines import narrow_network, training_cost
from eed_edge.evaluate.baselines.latency_match import LatencyMatch
from eed_edge.pipeline import base_stage
from eed_edge.prune.groups import analyse
from eed_edge.recipe import Base
from eed_edge.train.data.batches import Images
from eed_edge.train.networks import build, checkpoint
from eed_edge.train.run_folder import open_run
from tests.conftest import TINY, Flow, call

BLACK = Images(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4))


def started(run: Path, init: Path, *words: object) -> str:
    result = call("train", TINY, "--run", run, "--set", f"base.init={init}", *words)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def weights(flow: Flow, tmp_path_factory) -> Path:
    """The base of the shared run as another program would save it."""
    net, path = open_run(flow.run).base(), tmp_path_factory.mktemp("weights") / "net.pt"
    plain = {f"net.{name}": tensor for name, tensor in net.body.state_dict().items()}
    norm = {f"normalize.{name}": tensor for name, tensor in net.normalise.state_dict().items()}
    torch.save({"state_dict": norm | plain}, path)
    return path


@pytest.fixture(scope="module")
def untrained(weights: Path, tmp_path_factory) -> tuple[Path, str]:
    """A whole run on pretrained weights that no epoch has changed, and what was printed."""
    run = tmp_path_factory.mktemp("untrained") / "run"
    changes = ("base.epochs=0", "base.finish_epochs=2", "pool.subsets=1", "joint.epochs=1")
    return run, started(run, weights, *(word for change in changes for word in ("--set", change)))


def test_without_epochs_the_base_is_the_given_network_judged_once(untrained, flow: Flow, weights: Path):
    run, printed = untrained
    ours, theirs = (checkpoint.load_checkpoint(folder / "base.safetensors") for folder in (run, flow.run))
    assert ours[0].keys() == theirs[0].keys()
    assert all(torch.equal(tensor, theirs[0][name]) for name, tensor in ours[0].items())
    best = theirs[1]["training"]["best"]
    (row,) = ours[1]["history"]
    assert (row["clean"], row["attacked"]) == (best["clean"], best["attacked"])
    assert ours[1]["init"] == {"file": "net.pt", "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    logged = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [item["stage"] for item in logged] == ["base", "pool", "pool", "joint"]
    assert logged[0]["clean"] == best["clean"]
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("base  ")] == [
        "epoch",
        "best",
        "0/0",
    ]


def test_before_training_the_clean_accuracy_on_tune_is_logged(untrained, flow: Flow):
    _, printed = untrained
    rows = [line for line in printed.splitlines() if line.startswith("base.init")]
    best = checkpoint.load_checkpoint(flow.run / "base.safetensors")[1]["training"]["best"]["clean"]
    assert rows[0] == "base.init: net.pt: 122 tensors matched by name"
    assert rows[1].startswith("base.init: normalisation of the file's normalize.mean")
    clean = f"{best:.3f}"
    assert rows[2] == f"base.init net.pt: clean accuracy on tune before training {clean} (52 images)"
    assert ("near chance" in printed) == (best < 0.19)


@pytest.mark.slow
def test_a_base_without_epochs_goes_through_export_attack_narrow_and_report(
    untrained, tmp_path: Path, monkeypatch
):
    run, bundle = untrained[0], tmp_path / "bundle"

    def at_once(dense, target, **_):
        structure = analyse(dense, torch.from_numpy(target.images[:1]))
        return LatencyMatch({group.root: group.channels for group in structure.groups}, 1.0, 1.0, "")

    monkeypatch.setattr(narrow_network, "match_uniform", at_once)
    for words in (
        ("export", run, bundle, "--with-dense"),
        ("narrow", run, bundle),
        ("attack", run, bundle, "--images", 8),
        ("report", run, bundle, "--html", tmp_path / "report.html"),
    ):
        result = call(*words)
        assert result.exit_code == 0, result.output
    budget = json.loads((run / "report.json").read_text())["narrow"]["budget"]
    assert budget["macs"]["base"] == 0 < budget["macs"]["pool"]
    assert "pretrained weights of base.init have cost is not known" in budget["counted"]
    page = (tmp_path / "report.html").read_text()
    assert "Pretrained weights, not trained further: attacked accuracy" in page


def test_an_untrained_base_buys_the_narrow_network_epochs_without_a_finish():
    cfg = Base(epochs=0, init="net.pt", finish_epochs=2, batch=10)
    assert training_cost.with_epochs(cfg, 3) == Base(epochs=3, init="net.pt", finish_epochs=0, batch=10)
    assert training_cost.epochs_for_budget(10_000, cfg, cost=10, images=100).epochs == 2


@pytest.mark.parametrize("kind", ["state dict", "own, pruned"])
def test_a_run_under_way_goes_on_without_the_file_it_started_from(
    flow: Flow, weights: Path, tmp_path: Path, kind: str
):
    source = weights if kind == "state dict" else flow.run / "pool" / "erm-0.safetensors"
    init, digest = tmp_path / "init", hashlib.sha256(source.read_bytes()).hexdigest()
    shutil.copy(source, init)
    uninterrupted, sliced = tmp_path / "whole", tmp_path / "sliced"
    started(uninterrupted, init, "--until", "base")
    first = started(sliced, init, "--until", "base", "--max-minutes", 0)
    assert "paused, time is up after epoch 1 of 2" in first
    init.unlink()
    second = started(sliced, init, "--until", "base")
    assert ("before training" in first, "before training" in second) == (True, False)
    assert (sliced / "base.safetensors").read_bytes() == (uninterrupted / "base.safetensors").read_bytes()
    assert checkpoint.load_checkpoint(sliced / "base.safetensors")[1]["init"] == {
        "file": "init",
        "sha256": digest,
    }
    assert not list(sliced.glob("base-init.json")) + list(sliced.glob("base.state"))


def test_weights_no_better_than_chance_are_warned_of_before_training(tmp_path: Path):
    net = build.build_network("resnet18", classes=10, channels=1, width=16)
    net.body.classify.weight.data.zero_()
    torch.save(net.body.state_dict(), tmp_path / "net.pt")
    words = ("--until", "base", "--set", "base.epochs=0")
    printed = started(tmp_path / "run", tmp_path / "net.pt", *words)
    assert "near chance (0.100); check net.mean, net.std and the order of the classes" in printed


def test_a_file_that_does_not_fit_is_refused_in_one_line_and_leaves_no_run(tmp_path: Path):
    torch.save(
        build.build_network("resnet18", classes=10, channels=3, width=16).body.state_dict(), tmp_path / "n.pt"
    )
    result = call("train", TINY, "--run", tmp_path / "run", "--set", f"base.init={tmp_path / 'n.pt'}")
    errors = [line for line in result.output.splitlines() if line.startswith("error:")]
    assert (result.exit_code, len(errors)) == (1, 1)
    assert "stem.0.weight: expected shape (16, 1, 3, 3), got (16, 3, 3, 3); 1 of 102 tensors" in errors[0]
    assert not (tmp_path / "run").exists()


def test_a_normalisation_for_another_number_of_channels_is_refused(tmp_path: Path):
    cfg = recipe.from_dict({"net": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "width": 8}})
    message = r"net.mean and net.std: expected one number or 1, one per channel, got 3"
    with pytest.raises(RecipeError, match=message) as caught:
        base_stage.new_base(cfg, 4, BLACK, tmp_path / "base.state")
    assert "\n" not in str(caught.value)


def test_a_network_from_scratch_takes_the_recipes_normalisation_or_that_of_its_images(tmp_path: Path):
    def normalisation(**changes):
        cfg = recipe.from_dict({"net": {"width": 8, **changes}})
        net, read = base_stage.new_base(cfg, 4, BLACK, tmp_path / "base.state")
        assert read is None
        return net.normalise.mean.item(), net.normalise.std.item()

    assert normalisation(mean=[0.5], std=[0.25]) == (0.5, 0.25)
    assert normalisation() == (0.0, pytest.approx(0.01))  # black images
