"""Widths: multiples of eight within the budget, and branches that go as a whole."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eed_edge.errors import NetworkError
from eed_edge.prune import removal, widths
from eed_edge.prune.channels.structure import Structure
from eed_edge.prune.groups import analyse
from eed_edge.prune.widths import Budget
from tests.prune.search_subjects import IMAGE, network, random_choice


@cache
def wide() -> Structure:
    """The structure of a ResNet-18 of width 32."""
    return analyse(network("resnet18", 32), IMAGE[:1])


def a_share_for_each_group() -> st.SearchStrategy[list[float]]:
    groups = len(wide().groups)
    return st.lists(st.floats(0.02, 1), min_size=groups, max_size=groups)


@settings(max_examples=60, deadline=None)
@given(shares=st.deferred(a_share_for_each_group), budget=st.floats(0.08, 1))
def test_widths_are_multiples_of_eight_and_use_the_budget_without_exceeding_it(shares, budget):
    structure = wide()
    ratios = {g.root: share for g, share in zip(structure.groups, shares, strict=True)}
    params, macs = structure.cost({g.root: 1.0 for g in structure.groups})
    limit = Budget(budget * params, budget * macs)
    new_widths = widths.choose_widths(structure, ratios, limit, round_to=8)
    full = {g.root: g.channels for g in structure.groups}
    assert all(width % 8 == 0 and 8 <= width <= full[root] for root, width in new_widths.items())

    def cost(widths):
        return structure.cost({root: width / full[root] for root, width in widths.items()})

    assert all(c <= b + 1 for c, b in zip(cost(new_widths), limit, strict=True))
    for root in new_widths:  # nothing more would have fitted
        if new_widths[root] + 8 <= full[root]:
            more = cost({**new_widths, root: new_widths[root] + 8})
            assert any(c > b for c, b in zip(more, limit, strict=True))


def test_branches_stay_unless_they_may_go_and_only_branches_may():
    structure = analyse(network("resnet18"), IMAGE[:1])
    ratios = {g.root: 0.1 for g in structure.groups}
    full = structure.cost({g.root: 1.0 for g in structure.groups})
    limit = Budget(0.25 * full[0], 0.25 * full[1])
    stay = widths.choose_widths(structure, ratios, limit, round_to=8)
    may = widths.choose_widths(structure, ratios, limit, round_to=16, branches=True)
    assert all(width >= 8 for width in stay.values())
    assert 0 in may.values()
    assert all(width % 16 == 0 for width in may.values())
    assert all(may[g.root] for g in structure.groups if not g.branch)
    with pytest.raises(NetworkError, match="removable branch"):
        removal.remove_channels(network("resnet18"), structure, random_choice(structure), {"body.stem.0": 0})


def test_a_base_whose_widths_are_no_multiples_of_eight_keeps_whole_or_rounds_and_says_so(caplog):
    caplog.set_level("INFO")
    structure = analyse(network("resnet18", 12), IMAGE[:1])
    full = structure.cost({g.root: 1.0 for g in structure.groups})
    new_widths = widths.choose_widths(
        structure, {g.root: 0.5 for g in structure.groups}, Budget(0.5 * full[0], 0.5 * full[1]), round_to=8
    )
    channels = {g.root: g.channels for g in structure.groups}
    assert all(width % 8 == 0 or width == channels[root] for root, width in new_widths.items())
    assert "12 channels are no multiple of 8" in caplog.text


def test_a_budget_below_the_smallest_widths_is_refused():
    with pytest.raises(NetworkError, match=r"with the smallest widths it has .* raise prune.member_share"):
        widths.choose_widths(wide(), {g.root: 0.5 for g in wide().groups}, Budget(1e4, 1e4), round_to=8)
