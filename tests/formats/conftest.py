"""A copy of the stored run that commands may write into, and the precision that it was trained in."""

import shutil
from pathlib import Path

import pytest

from tests.formats.stored import STORED


@pytest.fixture(scope="module", autouse=True)
def as_it_was_made():
    """No bfloat16, whose weights other machines would not find again; one thread is enough."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The stored run, to be changed."""
    return shutil.copytree(STORED / "run", tmp_path / "run")
