import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import eed_edge
from eed_edge.errors import InferenceError, InputError
from tests.formats.stored import STORED
from tests.runtime.conftest import as_images, cascade_answering

FIELDS = ("probs", "labels", "submodels_used", "answer_prefix")


def test_a_stream_answers_each_image_and_each_batch_as_a_call_does(tiny):
    net = eed_edge.load(tiny.folder)
    items = [tiny.images[0], tiny.images[1:4], tiny.images[4:5], tiny.images[:0], tiny.images[5]]
    actual = list(net.predict_stream(items))
    expected = [net(item.reshape(-1, 3, 4, 4)) for item in items]
    assert [len(one.labels) for one in actual] == [1, 3, 1, 0, 1]
    for one, other in zip(actual, expected, strict=True):
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def test_a_stream_answers_a_batch_of_grey_images_without_a_channel_as_a_call_does():
    net = eed_edge.load(STORED / "bundle")
    batch = np.random.default_rng(0).random((5, 8, 8), np.float32)
    (one,) = net.predict_stream([batch])
    assert np.array_equal(one.probs, net(batch).probs)
    assert len(one.labels) == 5


def test_a_stream_takes_an_item_only_when_its_answer_is_asked_for(tiny):
    taken = []

    def camera():
        for i in range(10**9):  # endless, as cameras are
            taken.append(i)
            yield tiny.images[i % 20]

    answers = eed_edge.load(tiny.folder).predict_stream(camera())
    assert taken == []
    for i in range(5):
        next(answers)
        assert taken == list(range(i + 1))


def test_a_stream_keeps_no_item_while_it_waits_for_the_next(tiny):
    before = []

    def camera():
        for i in range(6):
            image = tiny.images[i].copy()
            before.append(weakref.ref(image))
            yield image
            del image
            gc.collect()
            assert before[-1]() is None

    assert len(list(eed_edge.load(tiny.folder).predict_stream(camera()))) == 6


@pytest.mark.parametrize("size", [None, 40])
def test_the_memory_of_a_stream_does_not_grow_with_its_length(tiny, size):
    net, rng = eed_edge.load(tiny.folder), np.random.default_rng(0)
    shape = (3, 4, 4) if size is None else (size, 3, 4, 4)

    def peak(length):
        tracemalloc.start()
        for _ in net.predict_stream(rng.random(shape, np.float32) for _ in range(length)):
            pass
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held

    peak(50)
    # Bytes. The images alone have 384,000 or far more; Python itself may keep 2,000 freed tuples of 64.
    assert peak(2000) < peak(50) + 2**18


def test_an_unfit_item_is_named_by_its_place_and_those_before_were_answered(tiny):
    answers = eed_edge.load(tiny.folder).predict_stream([tiny.images[0], tiny.images[1] * 300])
    next(answers)
    with pytest.raises(InputError, match=r"^item 1 of the stream: expected pixels in \[0, 1\]"):
        next(answers)
    with pytest.raises(
        InputError, match=r"^item 0 of the stream: expected images, a numpy array .*, got int"
    ):
        next(eed_edge.load(tiny.folder).predict_stream([5]))


@pytest.mark.parametrize("items", [5, None, np.float32(1)])
def test_what_cannot_be_iterated_over_is_refused_at_once(tiny, items):
    with pytest.raises(InputError, match="expected items, a generator or list of images or batches, got "):
        eed_edge.load(tiny.folder).predict_stream(items)


def test_an_item_without_a_usable_answer_ends_the_stream_with_an_error():
    net = cascade_answering(2, 2, rule="confidence", parameters={"threshold": 0.9})
    probs = np.full((2, 2, 2), 0.5)
    probs[:, 1] = 0
    answers = net.predict_stream(as_images(probs))
    assert next(answers).submodels_used.tolist() == [2]
    with pytest.raises(InferenceError, match="all 2 sub-models failed"):
        next(answers)
