"""One small real run of the whole flow, shared by the tests that need a run or a bundle."""

import gc
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
from click.testing import CliRunner, Result

from tests.made_once import made_once, shared_folder

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command sets it: else tests crawl beside other work
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:  # in the background or under nohup
        signal.signal(number, handler)

TINY = Path(__file__).parent / "tiny.toml"


def pytest_collection_finish() -> None:
    """Take what was imported out of garbage collections, which took a tenth of the time of an export."""
    gc.freeze()


class Flow(NamedTuple):
    run: Path
    bundle: Path


def call(*words: object) -> Result:
    """Run a command line of eed-edge in this process."""
    from eed_edge.cli import main

    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="session")
def exported_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Export a network with the same weights once, whichever worker asks: three seconds of torch each.

    ``export/test_network_graph.py`` does without this and tests that equal weights give equal bytes.
    """
    from eed_edge.evaluate.baselines import equal_latency, latency_match
    from eed_edge.evaluate.metrics import shape_accuracy
    from eed_edge.export import dense_network, network_graph, write_bundle

    folder = shared_folder(tmp_path_factory) / "exports"

    def to_onnx(net: Any, image: Any) -> bytes:
        digest = hashlib.sha256(repr((net, image.shape)).encode())
        for name, tensor in net.state_dict().items():
            digest.update(name.encode() + tensor.numpy().tobytes())

        def export(place: Path) -> None:
            (place / "model.onnx").write_bytes(network_graph.to_onnx(net, image))

        return (made_once(folder / digest.hexdigest(), export) / "model.onnx").read_bytes()

    with pytest.MonkeyPatch.context() as patch:
        for module in (write_bundle, dense_network, equal_latency, latency_match, shape_accuracy):
            patch.setattr(module, "to_onnx", to_onnx)
        yield


@pytest.fixture(scope="session")
def flow(tmp_path_factory: pytest.TempPathFactory, exported_once: None) -> Flow:
    """Made without a look at the test part: training and export stop where they ask for it."""
    from eed_edge.train.data.splits import Splits

    def trap(*_: object) -> NoReturn:
        raise AssertionError("test was read")

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Splits, "test", property(trap))
            succeed("train", TINY, "--run", folder / "run")
            succeed("export", folder / "run", folder / "bundle", "--with-dense", "--single-file")

    return copied(made_once(shared_folder(tmp_path_factory) / "flow", make), tmp_path_factory)


@pytest.fixture(scope="session")
def int8_flow(flow: Flow, tmp_path_factory: pytest.TempPathFactory, exported_once: None) -> Flow:
    """The same run exported in int8; its networks are hardly trained, so they may lose much."""
    words = ("--int8", "--with-dense-int8", "--single-file", "--max-drop", 0.5)

    def make(folder: Path) -> None:
        succeed("export", flow.run, folder / "bundle", *words)

    return Flow(flow.run, made_once(shared_folder(tmp_path_factory) / "int8", make) / "bundle")


@pytest.fixture(scope="session")
def attacked_flow(flow: Flow, tmp_path_factory: pytest.TempPathFactory) -> Flow:
    """A copy after ``eed-edge attack`` on 20 images, which began with a report on other files.

    Made without a look at calib: evaluation stops where it asks for it.
    """
    from eed_edge.train.run_folder import Run

    def trap(*_: object) -> NoReturn:
        raise AssertionError("calib was read")

    def make(folder: Path) -> None:
        for name, source in flow._asdict().items():
            shutil.copytree(source, folder / name)
        of_others = {"accuracy": {"cw": {"dense": 1.0}}, "evaluated": "of others", "kept": 1}
        (folder / "run" / "report.json").write_text(json.dumps(of_others))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Run, "calib", trap)
            succeed("attack", folder / "run", folder / "bundle", "--images", 20)

    return copied(made_once(shared_folder(tmp_path_factory) / "attacked", make), tmp_path_factory)


def copied(made: Path, factory: pytest.TempPathFactory) -> Flow:
    """A copy for this worker alone, whose tests may write into it."""
    folder = shutil.copytree(made, factory.mktemp(made.name) / "copy")
    return Flow(folder / "run", folder / "bundle")


def succeed(*words: object) -> Result:
    """``call`` that must end with exit code 0."""
    result = call(*words)
    assert result.exit_code == 0, result.output
    return result
