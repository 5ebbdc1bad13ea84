"""The report as one self-contained, reproducible HTML file without network access or scripts."""

from pathlib import Path
from typing import TYPE_CHECKING

from eed_edge.atomic_files import write_atomic
from eed_edge.errors import DeviceError, how_to_install

if TYPE_CHECKING:
    from eed_edge.manifest import Manifest

_PACKAGES = ("jinja2", "matplotlib", "PIL")


def write_page(run: Path, manifest: "Manifest", path: Path) -> None:
    """Write the page of a run's ``report.json`` and its bundle to ``path`` atomically.

    Raises:
        DeviceError: a package that makes the page is not installed.
        InputError: the run has no report, or a part of it is damaged.
        StorageError: the file cannot be written.
    """
    try:
        from eed_edge.html.inputs import read_inputs
        from eed_edge.html.page import render
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in _PACKAGES:
            raise
        raise DeviceError(
            f"expected {name}, which makes the HTML page; {how_to_install('report')}"
        ) from error
    write_atomic(path, render(read_inputs(run, manifest)).encode())
