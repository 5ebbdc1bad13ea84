import logging
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from struct import Struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eed_edge
from eed_edge.errors import InferenceError, InputError
from eed_edge.runtime.engine import cascade as module
from eed_edge.runtime.gates.replay import replay_rule
from eed_edge.runtime.gates.softmax import softmax as batch_softmax
from eed_edge.runtime.gates.softmax import softmax_row
from tests.runtime.conftest import as_images, cascade_answering, softmax
from tests.runtime.tiny_onnx import FAILS_UNLESS_SEVEN_IMAGES

RULES = [
    ("confidence", {"threshold": 0.6}),
    ("agreement", {"votes": 2}),
    ("geometric", {"g": 1.0, "k": 1.0}),
]
FIELDS = ("probs", "labels", "submodels_used", "answer_prefix")


def random_probs(seed, n, members=4, classes=3, failing=0.0):
    rng = np.random.default_rng(seed)
    probs = rng.uniform(0.01, 1, (members, n, classes)).astype(np.float32)
    probs[:-1][rng.random((members - 1, n)) < failing] = 0
    return probs


@pytest.mark.parametrize(("rule", "parameters"), RULES)
@pytest.mark.parametrize("failing", [0.0, 0.3])
def test_the_answers_are_those_of_a_replay_of_what_all_submodels_say(rule, parameters, failing):
    net = cascade_answering(4, 3, rule=rule, parameters=parameters)
    images = as_images(random_probs(0, 300, failing=failing))
    expected, actual = replay_rule(net.member_probs(images), rule, parameters), net(images)
    for name in FIELDS:
        assert np.array_equal(getattr(actual, name), getattr(expected, name))
    assert actual.complete
    assert actual.failed_submodels == ((0, 1, 2) if failing else ())


def test_members_say_the_softmax_of_their_logits_and_nan_where_they_fail():
    net = cascade_answering(4, 3, rule="confidence", parameters={"threshold": 0.6})
    logits = random_probs(1, 200, failing=0.3)
    probs = softmax(8 * logits)
    probs[(logits == 0).any(axis=2)] = np.nan
    with np.errstate(invalid="ignore"):
        assert np.allclose(net.member_probs(as_images(logits)), probs, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(("rule", "parameters"), RULES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), failing=st.sampled_from([0.0, 0.5]))
def test_batched_cascade_equals_one_image_at_a_time(rule, parameters, seed, n, failing):
    net = cascade_answering(4, 3, rule=rule, parameters=parameters)
    images = as_images(random_probs(seed, n, failing=failing))
    together, alone = net(images), [net(image[None]) for image in images]
    for name in FIELDS:
        assert np.array_equal(getattr(together, name), np.concatenate([getattr(one, name) for one in alone]))
    assert set(together.failed_submodels) == {t for one in alone for t in one.failed_submodels}


def test_a_batch_larger_than_a_chunk_is_answered_like_its_parts(monkeypatch):
    net = cascade_answering(4, 3, rule="confidence", parameters={"threshold": 0.6})
    images = as_images(random_probs(2, 50))
    together = net(images)
    monkeypatch.setattr(module, "CHUNK", 16)
    for name in FIELDS:
        assert np.array_equal(getattr(net(images), name), getattr(together, name))
    assert np.array_equal(net.member_probs(images)[:, 20:30], net.member_probs(images[20:30]))


def test_a_huge_batch_goes_in_chunks_and_its_memory_grows_with_the_answers_only(tiny, monkeypatch):
    net, answer = eed_edge.load(tiny.folder, threshold=0.6), 4 + 3 * 8 + 3 * 4  # bytes, roughly, per image
    sizes = set()
    run = net.submodels[0].session.run
    monkeypatch.setattr(
        net.submodels[0].session,
        "run",
        lambda names, feed: sizes.add(len(feed["images"])) or run(names, feed),
        raising=False,
    )

    def peak(images):
        tracemalloc.start()
        net(images)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held

    few, many = tiny.images[np.arange(1024) % 20], tiny.images[np.arange(16384) % 20]
    peak(few)
    assert peak(many) - peak(few) < 3 * answer * (len(many) - len(few))
    assert max(sizes) == module.CHUNK
    assert many[0].nbytes > 3 * answer  # a copy of the batch would have shown


def test_only_undecided_images_go_on_and_nothing_is_copied_while_all_do():
    net = cascade_answering(4, 2, rule="confidence", parameters={"threshold": 0.7})
    probs = np.full((4, 4, 2), 0.5, np.float32)
    probs[1, 1:3] = [0.9, 0.01]  # the mean passes 0.7 after the second
    images, seen = as_images(probs), []
    for submodel in net.submodels:
        run = submodel.session.run
        submodel.session.run = lambda names, feed, run=run: seen.append(feed["images"]) or run(names, feed)
    assert net(images).submodels_used.tolist() == [4, 2, 2, 4]
    assert [len(batch) for batch in seen] == [4, 4, 2, 2]
    assert np.shares_memory(seen[0], images)
    assert np.shares_memory(seen[1], images)
    assert np.shares_memory(seen[2], seen[3])


def test_no_images_have_a_valid_empty_answer(tiny):
    answer = eed_edge.load(tiny.folder)(np.zeros((0, 3, 4, 4), np.float32))
    assert answer.probs.shape == (0, 3)
    assert [getattr(answer, name).shape for name in FIELDS[1:]] == [(0,)] * 3
    assert answer.complete
    assert answer.failed_submodels == ()


@pytest.mark.parametrize("count", [1, 5])
def test_answers_have_the_promised_types(tiny, count):
    answer = eed_edge.load(tiny.folder)(tiny.images[:count])
    assert answer.probs.dtype == np.float32
    assert {getattr(answer, name).dtype for name in FIELDS[1:]} == {np.dtype(np.int64)}
    with pytest.raises(AttributeError):
        answer.labels = None


@pytest.mark.parametrize("count", [1, 3])
def test_images_in_any_memory_order_are_answered_alike(tiny, count):
    net, images = eed_edge.load(tiny.folder, rule="confidence", threshold=2), tiny.images[:count]
    mirrored = np.ascontiguousarray(images[..., ::-1])[..., ::-1]
    assert np.allclose(net(mirrored).probs, net(images).probs, atol=1e-6)
    assert np.allclose(net(np.asfortranarray(images)).probs, net(images).probs, atol=1e-6)


BAD_IMAGES = {
    "too many axes": (
        np.zeros((1, 1, 3, 4, 4), np.float32),
        r"expected images \(n, 3, 4, 4\), got \(1, 1, 3",
    ),
    "0 to 255": (
        np.full((1, 3, 4, 4), 255, np.float32),
        r"pixels in \[0, 1\], got 255 to 255; divide them by 255",
    ),
    "normalised": (np.full((2, 3, 4, 4), -0.1, np.float32), "got -0.1 to -0.1; leave mean and standard dev"),
    "NaN": (np.full((2, 3, 4, 4), np.nan, np.float32), "got NaN in 2 of 2 images, the first at 0; leave"),
    "just too far above 1": (
        np.full((1, 3, 4, 4), 1.0001, np.float32),
        r"got 1\.0001 to 1\.0001; scale them",
    ),
    "infinite": (np.full((1, 3, 4, 4), np.inf, np.float32), "got inf to inf; look where the infinite"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_unfit_images_are_refused_in_one_clear_line(tiny, case):
    images, message = BAD_IMAGES[case]
    net = eed_edge.load(tiny.folder)
    for ask in (net, net.member_probs):
        with pytest.raises(InputError, match=message):
            ask(images)


def test_one_bad_pixel_among_many_images_is_found_and_the_borders_are_fine(tiny):
    net, images = eed_edge.load(tiny.folder), tiny.images.copy()
    images[:2, 0, 0] = [[0.0] * 4, [1.0] * 4]
    images[2, 0, 0, 0] = -0.0
    together = net(images)
    assert np.array_equal(np.concatenate([net(image[None]).probs for image in images]), together.probs)
    images[2] = 0.5
    for bad in (np.float32(1.00002), np.float32(-0.00002), np.nan):
        images[11, 1, 2, 3] = bad
        for some in (images, images[11:12]):
            with pytest.raises(InputError, match="expected pixels"):
                net(some)


@pytest.mark.parametrize("count", [1, 4])
def test_a_submodel_that_raises_is_left_out_and_said_so(make_tiny, caplog, count):
    tiny = make_tiny(last={0: FAILS_UNLESS_SEVEN_IMAGES})
    net = eed_edge.load(tiny.folder, threshold=2)
    with caplog.at_level(logging.WARNING):
        answer = net(tiny.images[:count])
    assert answer.failed_submodels == (0,)
    assert answer.submodels_used.tolist() == [3] * count
    assert np.allclose(answer.probs, tiny.probs[1:, :count].mean(axis=0), atol=1e-6)
    assert "sub-model 0 is left out: " in caplog.text
    assert net(tiny.images[:7]).failed_submodels == ()


@pytest.mark.parametrize("count", [1, 4])
def test_a_submodel_that_gives_nan_is_logged_once_and_not_for_every_image(caplog, count):
    net = cascade_answering(3, 2, rule="confidence", parameters={"threshold": 2.0})
    probs = np.full((3, 4, 2), 0.5, np.float32)
    probs[:2] = 0
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert net(as_images(probs)[:count]).failed_submodels == (0, 1)
    assert [record.getMessage() for record in caplog.records] == [
        f"sub-model {t} is left out: it gave NaN or infinity for an image; logged this once" for t in (0, 1)
    ]


def test_a_submodel_of_another_output_shape_is_left_out(tiny):
    net = eed_edge.load(tiny.folder, threshold=2)
    net.submodels[1].session.run = lambda *_: [np.zeros((2, 7), np.float32)]
    assert net(tiny.images[:2]).failed_submodels == (1,)


@pytest.mark.parametrize("count", [1, 2])
def test_no_usable_submodel_is_an_error_never_a_guess(count):
    net = cascade_answering(3, 2, rule="confidence", parameters={"threshold": 0.5}, max_submodels=2)
    probs = np.full((3, 2, 2), 0.5, np.float32)
    probs[:2, 0] = 0
    with pytest.raises(InferenceError, match=f"all 2 sub-models failed for 1 of {count}"):
        net(as_images(probs)[:count])
    assert net(as_images(probs)[1:]).submodels_used.tolist() == [1]


def test_many_threads_get_the_answers_of_one(tiny):
    net = eed_edge.load(tiny.folder)
    batches = [tiny.images[i : i + 1 + i % 3] for i in range(15)] * 8
    expected = [net(batch) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        actual = list(pool.map(net, batches))
    for one, other in zip(expected, actual, strict=True):
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def test_many_classes_are_answered_like_few():
    net = cascade_answering(2, 70, rule="confidence", parameters={"threshold": 0.05})
    images = as_images(random_probs(3, 6, members=2, classes=70))
    together = net(images)
    assert np.array_equal(together.probs, np.concatenate([net(image[None]).probs for image in images]))


def test_one_row_and_a_batch_have_the_same_softmax_even_of_huge_logits():
    rng = np.random.default_rng(0)
    logits = (rng.normal(0, 1, (200, 5)) * 10.0 ** rng.uniform(-3, 6, (200, 1))).astype(np.float32)
    logits[::9] = 1.7e38 * np.sign(logits[::9])
    probs, failed = batch_softmax(logits)
    assert failed is None
    rows = [softmax_row(row.tolist(), Struct("5f")) for row in logits]
    assert np.array_equal(np.array(rows, np.float32), probs)
    assert np.allclose(probs, softmax(logits), atol=1e-6)
