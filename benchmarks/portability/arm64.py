"""Run the device package of an arm64 machine under user-mode emulation, and compare with this machine.

    .venv/bin/python benchmarks/portability/arm64.py build/demo/bundle build/demo/run/evaluation.npz

Debian's Python for arm64 and the aarch64 wheels of numpy, onnxruntime, Pillow and click with our own wheel
go into build/arm64; `eed-edge check` and `eed-edge run` are called there as on a device. Labels and
sub-models used must be this machine's for every image that is no near-tie, probabilities within --tolerance,
by the bundle image by image and by the single file in batches, for each rule. Takes about four minutes of
an idle core; emulation says nothing about speed.
"""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import cases
import click
from cases import Expected
from javascript import run

from eed_edge.errors import DeviceError, EedError

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
WORK = SOURCE / "build" / "arm64"
ROOT, SITE = WORK / "root", WORK / "site"
ONNXRUNTIME = "1.23.2"
"""1.32.0 was seen to crash under emulation at import; that says nothing about a device."""
PLATFORMS = (
    "manylinux2014_aarch64",
    "manylinux_2_17_aarch64",
    "manylinux_2_27_aarch64",
    "manylinux_2_28_aarch64",
)


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
        if not (WORK / "rooted").exists():
            run([HERE / "arm64_root.sh", WORK], "arm64_root.sh")
            (WORK / "rooted").touch()
        python = _python()
        _install(python[-1])
        click.echo(
            run([*python, "-P", "-m", "eed_edge", "check", bundle], "eed-edge check", **_paths()).strip()
        )
        _check_command(python, bundle, expected)
        answers = WORK / "answers.json"
        run([*python, HERE / "device.py", bundle, WORK / "cases", answers], "device.py", **_paths())
        answered = json.loads(answers.read_text())
        answered["versions"]["qemu"] = run([python[0], "--version"], "qemu").splitlines()[0]
        figures = cases.compare(expected, answered, "arm64")
        cases.record(target, cases.entry_name("arm64", bundle), answered, figures, images)
    except EedError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"written: {target}")


def _python() -> Sequence[str]:
    """The call of the arm64 Python."""
    names = ("qemu-aarch64-static", "qemu-aarch64")
    places = f"{os.environ['PATH']}:{WORK / 'qemu/usr/bin'}"
    qemu = next((path for name in names if (path := shutil.which(name, path=places))), None)
    pythons = sorted((ROOT / "usr/bin").glob("python3.[0-9]*[0-9]"))
    if not qemu or not pythons:
        raise DeviceError(f"expected qemu and {ROOT}/usr/bin/python3.*; remove {WORK} and try again")
    return (qemu, "-L", str(ROOT), str(pythons[0]))


def _paths() -> dict[str, str]:
    return {"PYTHONPATH": str(SITE), "PYTHONHOME": str(ROOT / "usr"), "PYTHONDONTWRITEBYTECODE": "1"}


def _install(python: str) -> None:
    """Our wheel, made anew, and the device's packages for the version of Python that ``python`` names."""
    pip = [sys.executable, "-m", "pip", "--quiet"]
    shutil.rmtree(WORK / "wheel", ignore_errors=True)
    shutil.rmtree(
        SOURCE / "build" / "lib", ignore_errors=True
    )  # setuptools would pack what was deleted since
    run([*pip, "wheel", "--no-deps", "--wheel-dir", WORK / "wheel", SOURCE], "pip wheel")
    wheel = next((WORK / "wheel").glob("*.whl"))
    tested = (SOURCE / "constraints.txt").read_text().splitlines()
    pinned = [line for line in tested if not line.startswith("onnxruntime==")]
    (WORK / "constraints.txt").write_text("\n".join(pinned))
    shutil.rmtree(SITE, ignore_errors=True)
    where = [word for platform in PLATFORMS for word in ("--platform", platform)]
    version = Path(python).name.removeprefix("python")
    pins = ("-c", WORK / "constraints.txt", f"onnxruntime=={ONNXRUNTIME}")
    into = ("--target", SITE, "--only-binary=:all:", "--python-version", version, *where)
    run([*pip, "install", *into, *pins, f"{wheel}[images]"], "pip install")


def _check_command(python: Sequence[str], bundle: Path, expected: dict[str, Expected]) -> None:
    """``eed-edge run`` on picture files answers as this machine does."""
    pictures = [WORK / "cases" / "pictures" / f"{i}.png" for i in range(cases.PICTURES)]
    text = run(
        [*python, "-P", "-m", "eed_edge", "run", bundle, *pictures, "--json"], "eed-edge run", **_paths()
    )
    deployed = expected[json.loads((WORK / "cases" / "cases.json").read_text())["own_rule"]]
    lines = [json.loads(line) for line in text.splitlines()]
    printed = [(line["label"], line["submodels_used"]) for line in lines]
    cases.check_example(printed, deployed, "eed-edge run on arm64")


if __name__ == "__main__":
    main()
