"""One small real run of the whole flow, shared by the tests that need a run or a bundle."""

import os
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from click.testing import CliRunner, Result

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command sets it: else tests crawl beside other work

TINY = Path(__file__).parent / "tiny.toml"


class Flow(NamedTuple):
    run: Path
    bundle: Path


def call(*words: object) -> Result:
    """Run a command line of eed-edge in this process."""
    from eed_edge.cli import main

    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="session")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Flow:
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


def _make(made: Flow) -> None:
    for words in (
        ("train", TINY, "--run", made.run),
        ("export", made.run, made.bundle, "--with-dense", "--single-file"),
    ):
        result = call(*words)
        assert result.exit_code == 0, result.output
