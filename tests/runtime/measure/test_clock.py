"""The clock against hand-worked orders, plain percentiles, and programs that slow or warm each other."""

import itertools
from collections import Counter

import numpy as np
import pytest

from eed_edge.errors import InputError
from eed_edge.runtime.measure.clock import (
    WARM_UP,
    balanced_order,
    call_by_call,
    in_blocks,
    in_pairs,
    ratio,
    summary,
)


class Hand:
    """A clock that only programs move; it remembers who ran and on which item."""

    def __init__(self):
        self.seconds, self.ran = 0.0, []

    def now(self):
        return self.seconds

    def program(self, name, cost):
        """A program of ``cost(item, ran)`` milliseconds, where ``ran`` has all calls before."""

        def call(item):
            self.seconds += cost(item, self.ran) / 1000
            self.ran.append((name, item))

        return call


@pytest.fixture
def hand():
    return Hand()


def test_every_program_is_timed_on_every_item_and_only_its_own_time_counts(hand):
    calls = {
        "slow": hand.program("slow", lambda item, ran: 10 + item),
        "fast": hand.program("fast", lambda item, ran: 1),
    }
    times = in_blocks(calls, items=3, rounds=2, now=hand.now)
    assert times["slow"] == pytest.approx(np.array([[10, 11, 12]] * 2))
    assert times["fast"] == pytest.approx(np.ones((2, 3)))


def test_a_block_is_a_warm_up_and_then_all_items_of_one_program(hand):
    calls = {name: hand.program(name, lambda item, ran: 1) for name in "abc"}
    in_blocks(calls, items=4, rounds=2, warm_up=2, now=hand.now)
    blocks = [hand.ran[at : at + 6] for at in range(0, len(hand.ran), 6)]
    assert "".join(block[0][0] for block in blocks) == "abccba"
    for block in blocks:
        assert len({name for name, _ in block}) == 1
        assert [item for _, item in block] == [2, 3, 0, 1, 2, 3]


def test_what_a_warm_up_takes_is_not_counted(hand):
    def cold(item, ran):
        in_a_row = itertools.takewhile(lambda call: call[0] == "one", reversed(ran))
        return 100 if sum(1 for _ in in_a_row) < WARM_UP else 1

    calls = {"one": hand.program("one", cold), "two": hand.program("two", lambda item, ran: 1)}
    times = in_blocks(calls, items=2 * WARM_UP, rounds=4, now=hand.now)
    assert times["one"].max() == pytest.approx(1)


@pytest.mark.parametrize("programs", range(2, 12))
def test_every_program_comes_after_every_other_one_equally_often(programs):
    rounds = programs if programs % 2 == 0 else 2 * programs
    orders = [balanced_order(programs, turn) for turn in range(rounds)]
    assert all(sorted(order) == list(range(programs)) for order in orders)
    after = Counter(pair for order in orders for pair in itertools.pairwise(order))
    assert set(after) == set(itertools.permutations(range(programs), 2))
    assert len(set(after.values())) == 1
    places = Counter((program, place) for order in orders for place, program in enumerate(order))
    assert len(set(places.values())) == 1


@pytest.mark.parametrize("programs", [2, 3, 7, 14])
@pytest.mark.parametrize("rounds", [2, 4, 6])
def test_in_an_even_number_of_rounds_each_of_two_programs_is_first_equally_often(programs, rounds):
    orders = [balanced_order(programs, turn) for turn in range(rounds)]
    for one, other in itertools.combinations(range(programs), 2):
        assert sum(order.index(one) < order.index(other) for order in orders) == rounds / 2


@pytest.mark.parametrize("programs", range(3, 12))
@pytest.mark.parametrize("rounds", range(3, 9))
def test_nobody_always_comes_after_the_same_other_program(programs, rounds):
    sequence = [program for turn in range(rounds) for program in balanced_order(programs, turn)]
    for program in range(programs):
        before = {one for one, next_one in itertools.pairwise(sequence) if next_one == program}
        assert len(before) > 1


def ring(calls, items, rounds, now):
    """The clock that was: call by call, in a list that is rotated, so that everybody keeps its neighbours."""
    times, order = {name: [] for name in calls}, list(calls)
    for _ in range(rounds):
        for item in range(items):
            order.append(order.pop(0))
            for name in order:
                started = now()
                calls[name](item)
                times[name].append((now() - started) * 1000)
    return {name: np.array(ms).reshape(rounds, items) for name, ms in times.items()}


def test_a_neighbour_turns_the_order_around_in_the_ring_and_not_in_blocks(hand):
    """dynamic is slower than narrow on its own, and faster right after static, which has its sessions."""

    def cost(cost_ms, name):
        def taken(item, ran):
            before = ran[-1][0] if ran else ""
            shares = {name, "static"} if name == "dynamic" else {name}
            return cost_ms if before in shares else 2 * cost_ms

        return hand.program(name, taken)

    calls = {"dense": cost(8.0, "dense"), "narrow": cost(1.0, "narrow"), "static": cost(3.0, "static")}
    calls["dynamic"] = cost(1.25, "dynamic")
    in_ring = ring(calls, 20, 3, hand.now)
    assert ratio(in_ring["narrow"], in_ring["dynamic"]).median > 1.2
    times = in_blocks(calls, items=20, rounds=4, now=hand.now)
    assert ratio(times["narrow"], times["dynamic"]).median == pytest.approx(0.8)
    assert ratio(times["dense"], times["dynamic"]).median == pytest.approx(6.4)


def test_pairs_take_turns_call_by_call_and_in_who_comes_first(hand):
    calls = [hand.program(name, lambda item, ran, ms=ms: ms + item) for name, ms in (("a", 1), ("b", 2))]
    first, second = in_pairs(*calls, items=3, rounds=2, now=hand.now)
    assert first == pytest.approx(np.array([[1, 2, 3]] * 2))
    assert second == pytest.approx(np.array([[2, 3, 4]] * 2))
    pairs = [hand.ran[at : at + 2] for at in range(0, len(hand.ran), 2)]
    assert all({name for name, _ in pair} == {"a", "b"} for pair in pairs)
    assert [pair[0][0] for pair in pairs] == list("ababababa")  # the first round is not counted
    for item in range(3):  # who comes first on an image changes, too
        assert {pair[0][0] for pair in pairs if pair[0][1] == item} == {"a", "b"}


def test_a_ratio_is_taken_round_by_round_and_its_spread_is_over_the_rounds():
    rng = np.random.default_rng(0)
    drift = np.array([1.0, 5.0, 2.0, 1.0, 3.0])[:, None]  # slow rounds hit both
    one, other = drift * rng.uniform(8, 9, (5, 40)), drift * rng.uniform(2, 3, (5, 40))
    for typical in (np.mean, np.median):
        expected = sorted(typical(one[i]) / typical(other[i]) for i in range(5))
        result = ratio(one, other, typical=typical)
        assert (result.low, result.median, result.high) == pytest.approx(expected[1:4])


def test_a_summary_has_the_percentiles_of_all_calls_and_the_quartiles_of_the_rounds():
    result = summary(np.arange(101.0)[::-1].reshape(1, 101))
    assert result.items() >= {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "mean_ms": 50}.items()
    assert (result["p25_ms"], result["p75_ms"]) == (25, 75)
    assert (result["mean_low_ms"], result["mean_high_ms"]) == (50, 50)
    times = np.arange(5.0)[:, None] + np.array([0, 10, 20])  # rounds of mean 10, 11, 12, 13, 14
    result = summary(times)
    assert (result["mean_low_ms"], result["mean_ms"], result["mean_high_ms"]) == (11, 12, 13)


@pytest.mark.parametrize(("calls", "items", "rounds"), [({}, 1, 1), ({"a": id}, 0, 1), ({"a": id}, 1, 0)])
def test_nothing_to_time_is_an_error(calls, items, rounds):
    with pytest.raises(InputError, match="expected something to time, got"):
        in_blocks(calls, items=items, rounds=rounds)


def test_no_pair_to_time_is_an_error():
    with pytest.raises(InputError, match="expected something to time, got 2 programs, 0 items, 1 rounds"):
        in_pairs(id, id, items=0, rounds=1)


def test_call_by_call_every_item_is_timed_by_every_program_and_each_comes_after_each_other(hand):
    calls = {
        name: hand.program(name, lambda item, ran, ms=ms: ms + item)
        for name, ms in (("a", 1), ("b", 20), ("c", 300))
    }
    times = call_by_call(calls, items=6, rounds=2, now=hand.now)
    for name, ms in (("a", 1), ("b", 20), ("c", 300)):
        assert times[name] == pytest.approx(np.array([[ms + item for item in range(6)]] * 2))
    names = [name for name, _ in hand.ran]
    assert len(names) == 3 * 6 * 3  # the first round is not counted
    turns = [names[at : at + 3] for at in range(0, len(names), 3)]
    assert all(set(turn) == set("abc") for turn in turns)
    after = [(one, other) for turn in turns for one, other in itertools.pairwise(turn)]
    assert {after.count(pair) for pair in set(after)} == {len(after) // 6}
