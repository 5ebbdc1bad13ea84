"""Run a bundle's cascade.onnx by onnxruntime-node and by onnxruntime-web in a headless Chromium.

    .venv/bin/python benchmarks/portability/javascript.py build/demo/bundle build/demo/run/evaluation.npz

Labels and sub-models used must be the Python runtime's for every image that is no near-tie, probabilities
within --tolerance, for each rule, one image at a time and in batches; both examples under docs/examples are
used as a person would. With --onnxruntime the C++ example is compiled and compared too. Packages come from
npm into build/portability. CHROMIUM may name the browser.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cases
import click
import numpy as np
from cases import Expected, MismatchError

from eed_edge.errors import DeviceError, EedError

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "docs" / "examples"
WORK = HERE.parents[1] / "build" / "portability"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WEB_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


@click.command(help=__doc__)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.option("--json", "target", type=click.Path(path_type=Path), default=cases.RESULTS)
@click.option(
    "--tolerance", type=float, help="Of probabilities and ties (default: by the bundle's precision)."
)
@click.option(
    "--onnxruntime", type=click.Path(path_type=Path), help="A prefix with its C++ headers and library."
)
def main(bundle: Path, images: Path, target: Path, tolerance: float | None, onnxruntime: Path | None) -> None:
    """Answer the cases in every runtime, compare, write the figures."""
    try:
        node, npm = program("node", package="nodejs"), program("npm", package="npm")
        chromium = program(os.environ.get("CHROMIUM", ""), *BROWSERS, package="chromium")
        _install(npm)
        expected = cases.write_cases(bundle, images, WORK / "cases", tolerance=tolerance)
        index = json.loads((WORK / "cases" / "cases.json").read_text())
        answers = {"node": in_node(node, index, expected)}
        answers["chromium"] = in_chromium(node, chromium, index, expected)
        if onnxruntime:
            answers["cpp"] = in_cpp(onnxruntime, images, expected)
        figures = {name: cases.compare(expected, answered, name) for name, answered in answers.items()}
        for name, answered in answers.items():
            cases.record(target, cases.entry_name(name, bundle), answered, figures[name], images)
    except EedError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"written: {target}")


def program(*names: str, package: str) -> str:
    """The first of these programs that is there; Debian has them in ``package``.

    Raises:
        DeviceError: none is installed.
    """
    for name in names:
        if name and (path := shutil.which(name)):
            return path
    programs = " or ".join(name for name in names if name)
    raise DeviceError(f"expected {programs}, which is not installed; on Debian: apt-get install {package}")


def run(command: Sequence[str | Path], what: str, **environment: str) -> str:
    """The standard output of a program.

    Raises:
        DeviceError: it failed; the message ends with its last line.
    """
    quiet = {"ORT_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | quiet | environment)
    if done.returncode:
        output = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        telling = [line for line in output if "rror" in line] or output
        raise DeviceError(f"{what}: expected it to succeed, it ended with {done.returncode}: {telling[-1]}")
    return done.stdout


def _install(npm: str) -> None:
    """The packages and a copy of the scripts and examples, so that imports find both."""
    WORK.mkdir(parents=True, exist_ok=True)
    packages, stamp = (HERE / "package.json").read_bytes(), WORK / "package.json"
    if not (WORK / "node_modules").is_dir() or not stamp.exists() or stamp.read_bytes() != packages:
        shutil.copy(HERE / "package.json", stamp)
        flags = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")  # scripts bring CUDA
        try:
            run([npm, "install", "--prefix", WORK, *flags], "npm install")
        except DeviceError:
            stamp.unlink()
            raise
    for script in (*HERE.glob("*.mjs"), HERE / "page.html"):
        shutil.copy(script, WORK)
    shutil.rmtree(WORK / "examples", ignore_errors=True)
    shutil.copytree(EXAMPLES, WORK / "examples")
    (WORK / "examples" / "browser" / "ort").mkdir()
    for name in WEB_FILES:
        shutil.copy(
            WORK / "node_modules" / "onnxruntime-web" / "dist" / name, WORK / "examples" / "browser" / "ort"
        )


def in_node(node: str, index: Mapping[str, Any], expected: Mapping[str, Expected]) -> Any:
    """Answers of onnxruntime-node; the example is run on the pictures."""
    answers = WORK / "answers-node.json"
    run([node, WORK / "node.mjs", answers], "node")
    for rule, rule_answers in expected.items():
        pictures = [WORK / "cases" / "pictures" / name for name in index["pictures"]]
        example = [node, WORK / "examples" / "node" / "index.mjs", WORK / "cases" / f"{rule}.onnx", *pictures]
        lines = [json.loads(line) for line in run(example, "docs/examples/node").splitlines()]
        printed = [(line["label"], line["submodels_used"]) for line in lines]
        cases.check_example(printed, rule_answers, "docs/examples/node")
    return json.loads(answers.read_text())


def in_chromium(node: str, chromium: str, index: Mapping[str, Any], expected: Mapping[str, Expected]) -> Any:
    """Answers of onnxruntime-web; the example page is opened and given the pictures."""
    shutil.copy(WORK / "cases" / f"{index['own_rule']}.onnx", WORK / "examples" / "browser" / "cascade.onnx")
    answers = WORK / "answers-chromium.json"
    run([node, WORK / "browser.mjs", chromium, answers], "Chromium")
    answered = json.loads(answers.read_text())
    classes = json.loads((WORK / "cases" / "classes.json").read_text())
    printed = []
    for line in answered["examples"]:
        match = re.fullmatch(
            r"(.*), [\d.]+ %, sub-models used: (\d+)(?:, without sub-models [\d, ]+)?(?:, abstained)?", line
        )
        if not match or match[1] not in classes:
            raise MismatchError(
                f"docs/examples/browser: expected a class, a probability and a count, got: {line}"
            )
        printed.append((classes.index(match[1]), int(match[2])))
    cases.check_example(printed, expected[index["own_rule"]], "docs/examples/browser")
    answered["versions"]["chromium"] = run([chromium, "--version"], "Chromium").split(" built")[0].strip()
    return answered


def in_cpp(prefix: Path, npz: Path, expected: Mapping[str, Expected]) -> Any:
    """Answers of the C++ example, compiled against the onnxruntime below ``prefix``."""
    build = WORK / "cpp"
    shutil.rmtree(build, ignore_errors=True)
    cmake = program("cmake", package="cmake g++ nlohmann-json3-dev")
    where = f"-DCMAKE_PREFIX_PATH={prefix.resolve()}"
    run([cmake, "-S", EXAMPLES / "cpp", "-B", build, "-DCMAKE_BUILD_TYPE=Release", where], "cmake")
    run([cmake, "--build", build], "the C++ compiler")
    pictures = sorted(_as_pnm(npz, WORK / "cases" / "pnm"))
    answers = []
    for rule, rule_answers in expected.items():
        text = run([build / "classify", WORK / "cases" / f"{rule}.onnx", *pictures], "docs/examples/cpp")
        lines = [json.loads(line) for line in text.splitlines()]
        labels = np.array([line["label"] for line in lines])
        probs = rule_answers.probs.copy()  # it prints one class's probability
        probs[np.arange(len(labels)), labels] = [line["probability"] for line in lines]
        used = [line["submodels_used"] for line in lines]
        answers.append(
            {
                "rule": rule,
                "how": "one at a time",
                "labels": labels,
                "submodels_used": used,
                "probabilities": probs,
            }
        )
    return {"versions": _cpp_versions(prefix), "answers": answers}


def _cpp_versions(prefix: Path) -> dict[str, str]:
    header = next(prefix.glob("include/**/onnxruntime_c_api.h")).read_text(encoding="utf-8")
    version = re.search(r"#define ORT_API_VERSION (\d+)", header)
    library = next(prefix.glob("lib/**/libonnxruntime.*")).resolve().name
    headers = f"1.{version[1]}" if version else "unknown"
    return {"onnxruntime headers": headers, "onnxruntime library": library}


def _as_pnm(npz: Path, folder: Path) -> list[Path]:
    images, _ = cases.read_npz(npz)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths = []
    for i, image in enumerate(images):
        height, width, channels = image.shape
        paths.append(folder / f"{i:06}.pnm")
        paths[-1].write_bytes(
            b"P%d %d %d 255\n" % (5 if channels == 1 else 6, width, height) + image.tobytes()
        )
    return paths


if __name__ == "__main__":
    main()
