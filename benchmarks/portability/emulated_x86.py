"""Run a bundle on an emulated x86 processor without VNNI, and compare with this machine.

    .venv/bin/python benchmarks/portability/emulated_x86.py BUNDLE build/demo/run/evaluation.npz

Without VNNI, int8 products are added in 16 bits, where full-range weights overflow. The Python that runs this
script runs again under ``qemu-x86_64-static -cpu Haswell``, from Debian if it is not installed, and answers
image by image and by the single file in batches, for each rule. Labels and sub-models used must be this
machine's for every image that is no near-tie, and probabilities within --tolerance. Emulation says nothing
about speed.
"""

import json
import platform
import shutil
import sys
from pathlib import Path

import cases
import click
from javascript import run

from eed_edge.errors import DeviceError, EedError

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
WORK = SOURCE / "build" / "emulated-x86"
PROCESSOR = "Haswell"
"""AVX2, but neither AVX-512 nor VNNI."""


@click.command(help=__doc__)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.option("--json", "target", type=click.Path(path_type=Path), default=cases.RESULTS)
@click.option(
    "--tolerance", type=float, help="Of probabilities and ties (default: by the bundle's precision)."
)
def main(bundle: Path, images: Path, target: Path, tolerance: float | None) -> None:
    """Answer the cases under emulation, compare, write the figures."""
    try:
        expected = cases.write_cases(bundle, images, WORK / "cases", tolerance=tolerance)
        answered = answers_of(PROCESSOR, bundle, WORK / "cases", WORK / "answers.json")
        figures = cases.compare(expected, answered, f"emulated {PROCESSOR}")
        cases.record(target, cases.entry_name(f"emulated {PROCESSOR}", bundle), answered, figures, images)
    except EedError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"written: {target}")


def answers_of(processor: str, bundle: Path, folder: Path, answers: Path) -> dict[str, object]:
    """The answers of this Python to the cases in ``folder`` when it runs on an emulated ``processor``.

    Raises:
        DeviceError: this is no x86-64 machine, or qemu can neither be run nor be had.
    """
    qemu = find_qemu()
    command = [qemu, "-cpu", processor, sys.executable, "-P", HERE / "device.py", bundle, folder, answers]
    run(command, "device.py under qemu", PYTHONPATH=str(SOURCE), OMP_NUM_THREADS="1")
    answered: dict[str, object] = json.loads(answers.read_text())
    versions = answered["versions"]
    assert isinstance(versions, dict)
    versions["qemu"] = run([qemu, "--version"], "qemu").splitlines()[0]
    return answered


def find_qemu() -> str:
    """The emulator of x86-64, installed or unpacked from Debian's package without root."""
    if platform.machine() != "x86_64":
        raise DeviceError(f"expected an x86-64 machine, got {platform.machine()}; run it on one")
    places = f"{WORK / 'qemu/usr/bin'}"
    emulator = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64-static", path=places)
    if not emulator:
        run([HERE / "unpack_qemu.sh", WORK / "qemu"], "unpack_qemu.sh")
        emulator = shutil.which("qemu-x86_64-static", path=places)
    if not emulator:
        raise DeviceError(
            "expected qemu-x86_64-static, got none; on Debian: apt-get install qemu-user-static"
        )
    return emulator


if __name__ == "__main__":
    main()
