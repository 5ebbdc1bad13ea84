"""The newest frame is answered, the others are counted, whatever the source does."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

import eed_edge
from eed_edge.errors import InputError
from eed_edge.runtime.engine.latest import predict_latest


class Camera:
    """A source that gives its next frames when the test says so, and then ends."""

    def __init__(self, frames):
        self.frames, self.gate, self.arrived = frames, threading.Semaphore(0), 0

    def release(self, count):
        """Let ``count`` frames arrive and wait until the last of them has."""
        for _ in range(count):
            self.gate.release()
        until = time.monotonic() + 5
        while self.arrived < len(self.frames) and self.gate._value and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(0.02)

    def __iter__(self):
        for frame in self.frames:
            self.gate.acquire()
            self.arrived += 1
            yield frame
        self.gate.acquire()


def test_the_newest_frame_is_answered_and_the_backlog_is_dropped_and_counted(tiny):
    net = eed_edge.load(tiny.folder)
    camera = Camera(list(tiny.images[:10]))
    answers = net.predict_latest(camera)
    assert camera.arrived == 0
    camera.gate.release()
    first = next(answers)
    assert (first.frame, first.dropped) == (0, 0)
    camera.release(4)
    second = next(answers)
    assert (second.frame, second.dropped) == (4, 3)
    camera.release(6)  # the last five, and the end
    last = next(answers)
    assert (last.frame, last.dropped) == (9, 4)
    assert next(answers, None) is None
    for answer in (first, second, last):
        expected = net(tiny.images[answer.frame : answer.frame + 1])
        np.testing.assert_array_equal(answer.prediction.probs, expected.probs)
        assert answer.arrived_s <= answer.answered_s <= time.monotonic()
    assert first.answered_s < second.arrived_s


def test_a_slow_network_keeps_up_with_a_fast_camera_and_no_frame_is_old():
    class Slow:
        manifest = SimpleNamespace(input=SimpleNamespace(size=(1, 2, 2)))

        def __call__(self, images):
            time.sleep(0.03)
            return int(images[0, 0, 0, 0])

    def camera():
        for number in range(60):
            time.sleep(0.004)
            yield np.full((1, 2, 2), number, np.float32)

    answers = list(predict_latest(Slow(), camera()))
    numbers = [answer.frame for answer in answers]
    assert numbers == [answer.prediction for answer in answers] == sorted(set(numbers))
    assert numbers[-1] == 59
    assert len(answers) < 30
    assert len(answers) + sum(answer.dropped for answer in answers) == 60
    assert max(answer.answered_s - answer.arrived_s for answer in answers) < 0.5  # 0.24 s at the end in turn


def test_a_single_file_has_it_too_and_a_list_answers_at_least_its_last(tiny):
    net = eed_edge.load(tiny.folder)
    answers = list(net.predict_latest(list(tiny.images)))
    assert answers[-1].frame == 19
    assert len(answers) + sum(answer.dropped for answer in answers) == 20
    assert list(net.predict_latest([])) == []


def test_an_error_of_the_source_comes_after_the_last_frame_and_a_wrong_frame_is_named(tiny):
    net = eed_edge.load(tiny.folder)

    def unplugged():
        yield tiny.images[0]
        raise OSError("the camera is gone")

    answers = net.predict_latest(unplugged())
    assert next(answers).frame == 0
    with pytest.raises(OSError, match="the camera is gone"):
        next(answers)
    with pytest.raises(InputError, match="frame 0 of the source: expected"):
        next(net.predict_latest([tiny.images[0] * 2]))
    with pytest.raises(InputError, match="frame 0 of the source: expected one image, got 2"):
        next(net.predict_latest([np.stack([tiny.images[0]] * 2)]))
    with pytest.raises(InputError, match="expected items, a generator or list"):
        net.predict_latest(3)


def test_closing_ends_the_thread_with_the_next_frame(tiny):
    ended = threading.Event()

    def camera():
        try:
            while True:
                time.sleep(0.002)
                yield tiny.images[0]
        finally:
            ended.set()

    answers = eed_edge.load(tiny.folder).predict_latest(camera())
    next(answers)
    answers.close()
    assert ended.wait(5)
