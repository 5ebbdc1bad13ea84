"""One small real run of the whole flow, shared by the tests that need a run or a bundle."""

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
from click.testing import CliRunner, Result

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command sets it: else tests crawl beside other work
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:  # in the background or under nohup
        signal.signal(number, handler)

TINY = Path(__file__).parent / "tiny.toml"


class Flow(NamedTuple):
    run: Path
    bundle: Path


def call(*words: object) -> Result:
    """Run a command line of eed-edge in this process."""
    from eed_edge.cli import main

    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="session")
def exported_once() -> Iterator[None]:
    """Export a network with the same weights once: three seconds of torch each.

    ``export/test_network_graph.py`` does without this and tests that equal weights give equal bytes.
    """
    from eed_edge.evaluate.baselines import equal_latency, latency_match
    from eed_edge.examine import onnx_answers
    from eed_edge.export import network_graph, write_bundle

    models: dict[str, bytes] = {}

    def to_onnx(net: Any, image: Any) -> bytes:
        digest = hashlib.sha256(repr((net, image.shape)).encode())
        for name, tensor in net.state_dict().items():
            digest.update(name.encode() + tensor.numpy().tobytes())
        key = digest.hexdigest()
        if key not in models:
            models[key] = network_graph.to_onnx(net, image)
        return models[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write_bundle, "to_onnx", to_onnx)
        patch.setattr(onnx_answers, "to_onnx", to_onnx)
        patch.setattr(equal_latency, "to_onnx", to_onnx)
        patch.setattr(latency_match, "to_onnx", to_onnx)
        yield


@pytest.fixture(scope="session")
def flow(tmp_path_factory: pytest.TempPathFactory, exported_once: None) -> Flow:
    """Made without a look at the test part: training and export stop where they ask for it."""
    from eed_edge.train.data.splits import Splits

    def trap(*_: object) -> NoReturn:
        raise AssertionError("test was read")

    folder = tmp_path_factory.mktemp("flow")
    made = Flow(folder / "run", folder / "bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Splits, "test", property(trap))
        _make(made)
    return made


@pytest.fixture(scope="session")
def int8_flow(flow: Flow, tmp_path_factory: pytest.TempPathFactory, exported_once: None) -> Flow:
    """The same run exported in int8; its networks are hardly trained, so they may lose much."""
    made = Flow(flow.run, tmp_path_factory.mktemp("int8") / "bundle")
    words = ("--int8", "--with-dense-int8", "--single-file", "--max-drop", 0.5)
    result = call("export", made.run, made.bundle, *words)
    assert result.exit_code == 0, result.output
    return made


def _make(made: Flow) -> None:
    for words in (
        ("train", TINY, "--run", made.run),
        ("export", made.run, made.bundle, "--with-dense", "--single-file"),
    ):
        result = call(*words)
        assert result.exit_code == 0, result.output
