"""``eed-edge inspect``: what it prints for a network and for a recipe, and its exit code on a fault."""

import json
import re

from tests.conftest import TINY, call


def test_a_network_is_described_with_groups_cost_team_and_time(exported_once, tmp_path):
    result = call("inspect", "tests.examine.coverage:mobilenet_v3", "--set", "net.width=32",
                  "--set", "prune.member_share=0.4", "--set", "prune.sparsity=0.1",
                  "--json", tmp_path / "figures.json")  # fmt: skip
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert f"{figures['params']:,} parameters, {figures['macs']:,} MACs" in result.output
    assert [group["channels"] for group in figures["groups"] if group["name"].endswith("6.excite")] == [96]
    assert set(figures["training"]["seconds"]) == {"base", "pool", "select", "joint"}
    assert re.search(r"^body\.1\.body\.6\.excite +96 ", result.output, re.MULTILINE)
    assert "smallest team: two of them" in result.output
    needs = r"^training: about [\d.]+ (s|min|h) on .* \(base .*memory, \d+ MiB of disk$"
    assert re.search(needs, result.output, re.MULTILINE)


def test_a_fault_ends_it_with_one_line_and_exit_code_one():
    result = call("inspect", TINY, "--set", "net.arch=vgg16")  # five poolings of 8×8 pixels
    errors = [line for line in result.output.splitlines() if line.startswith("error:")]
    assert (result.exit_code, len(errors)) == (1, 1)
    assert "error: body.features.33: the network fails on images" in errors[0]
    assert "change data.size, or let net.arch build" in errors[0]
