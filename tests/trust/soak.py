"""Many threads share one loaded bundle, and every answer is compared with the first one."""

import random
import threading
from pathlib import Path

import numpy as np

import eed_edge
from eed_edge.runtime.measure.timing import rss_mib
from tests.trust.tally import Tally

_MOST_AT_ONCE = 16  # images in one call
_SAME = 1e-5  # of a probability


def answer_many(
    tally: Tally, bundle: Path, images: np.ndarray, *, predictions: int, threads: int = 8
) -> None:
    """Answer about ``predictions`` images, half of the threads by the folder, half by ``cascade.onnx``."""
    nets = [eed_edge.load(bundle), eed_edge.load(bundle / "cascade.onnx")]
    expected = [net(images) for net in nets]
    lock, share = threading.Lock(), -(-predictions // threads)

    def work(number: int) -> None:
        chance, done = random.Random(number), 0
        net, truth = nets[number % 2], expected[number % 2]
        while done < share:
            rows = chance.sample(range(len(images)), chance.randint(1, min(_MOST_AT_ONCE, len(images))))
            answer = net(images[rows])
            wrong = (answer.labels != truth.labels[rows]) | (
                answer.submodels_used != truth.submodels_used[rows]
            )
            wrong |= np.abs(answer.probs - truth.probs[rows]).max(axis=1) > _SAME
            done += len(rows)
            with lock:
                tally.predictions += len(rows)
                for row in np.flatnonzero(wrong):
                    tally.count("wrong", f"image {rows[row]} in thread {number}")

    before = None
    for goal in (share // 10, share):  # the first part fills the pools
        share = goal
        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        before = before if before is not None else rss_mib()
    tally.growth_mib = round(rss_mib() - (before or 0), 1)
