"""The whole flow on networks of the table: train, export, check. ``make networks`` takes all of them."""

import os
from pathlib import Path

import pytest

from eed_edge.train.run_folder import open_run
from tests.conftest import TINY, call
from tests.examine.coverage import NETWORKS

THREE = ("plain", "mobilenet_v3", "convnext")
NAMES = tuple(NETWORKS) if os.environ.get("NETWORKS") == "all" else THREE
CHANGES = (
    "net.width=32", "scores.names=[\"erm\"]", "base.epochs=1", "joint.epochs=1", "prune.member_share=0.47",
    "prune.sparsity=0.03", "prune.round_to=4", "data.limit=160",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_it_is_trained_exported_and_checked(name: str, tmp_path: Path):
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    arch = f"net.arch=tests.examine.coverage:{NETWORKS[name].__name__}"
    words = [word for change in (arch, *CHANGES) for word in ("--set", change)]
    for command in (
        ("train", TINY, "--run", run, *words),
        ("export", run, bundle, "--with-dense"),
        ("check", bundle),
    ):
        result = call(*command)
        assert result.exit_code == 0, result.output
    dense = sum(parameter.numel() for parameter in open_run(run).base().parameters())
    for member, _ in open_run(run).members():
        assert sum(parameter.numel() for parameter in member.parameters()) <= 0.47 * dense
