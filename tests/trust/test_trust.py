"""What ``make trust`` counts is seen: it can fail."""

import shutil

import numpy as np
import pytest

from tests.trust import faults, soak
from tests.trust.hostile_set import GOOD
from tests.trust.judge import ROOT, Judge, verdict_of
from tests.trust.tally import MOST_GROWTH, ZERO, Tally


def test_the_judge_tells_a_sound_bundle_from_a_damaged_one(tmp_path):
    damaged = shutil.copytree(GOOD, tmp_path / "bundle")
    with (damaged / "golden.npz").open("ab") as stream:
        stream.write(b"x")
    with Judge() as judge:
        assert judge.ask("bundle", GOOD)[0] == "accepted"
        verdict, message = judge.ask("bundle", damaged)
    assert verdict == "refused"
    assert "golden.npz: expected 5684 bytes, got 5685" in message


def test_an_error_that_is_not_ours_is_unexpected():
    assert verdict_of("weights", None) == (
        "unexpected",
        "TypeError: stat: path should be string, bytes, os.PathLike or integer, not NoneType",
    )


def test_broken_files_and_bundles_count_as_lost(tmp_path):
    run = shutil.copytree(ROOT / "tests" / "formats" / "version-0.1" / "run", tmp_path / "run")
    bundle = shutil.copytree(GOOD, tmp_path / "bundle")
    tally = Tally()
    faults._check_complete(tally, bundle, "nothing")
    faults._check_equal(tally, run, run)
    assert (faults._broken(run), tally.lost) == ([], 0)
    member = run / "joint" / "member-0.safetensors"
    member.write_bytes(member.read_bytes()[:-1])
    (bundle / "submodel-0.onnx").unlink()
    faults._check_complete(tally, bundle, "a loss")
    assert (faults._broken(run), tally.lost) == (["member-0.safetensors"], 1)


def test_the_soak_answers_as_often_as_asked_and_counts_no_wrong_one():
    images = np.random.default_rng(0).random((20, 1, 8, 8), np.float32)
    tally = Tally()
    soak.answer_many(tally, GOOD, images, predictions=400, threads=2)
    assert 440 <= tally.predictions < 520
    assert (tally.wrong, tally.notes) == (0, [])


@pytest.mark.parametrize("name", ZERO)
def test_each_count_that_must_be_zero_fails_the_run(name):
    tally = Tally()
    assert tally.holds()
    tally.count(name, "a note")
    assert not tally.holds()
    assert Tally(growth_mib=MOST_GROWTH + 1).holds() is False
