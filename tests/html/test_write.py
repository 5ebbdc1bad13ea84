import json
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest

from eed_edge import html
from eed_edge.errors import InputError, StorageError, how_to_install
from eed_edge.provenance import manifest_digest
from eed_edge.train.run_folder import open_run
from tests.conftest import Flow, call
from tests.html import sample

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path):
    report = sample.full_report()
    del report["curves"]
    return sample.fill(tmp_path / "run", report)


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_the_report_extra_one_line_names_it_and_nothing_is_written(run, tmp_path, package):
    code = (
        f"import sys; sys.modules['{package}'] = None\n"
        "from pathlib import Path; from eed_edge import errors, html; from tests.html import sample\n"
        "try: html.write_page(Path(sys.argv[1]), sample.bundle_manifest(), Path(sys.argv[2]))\n"
        "except errors.DeviceError as error: print(error)"
    )
    words = [sys.executable, "-c", code, run, tmp_path / "page.html"]
    printed = subprocess.check_output(words, cwd=ROOT, text=True)
    advice = how_to_install("report")
    assert printed == f"expected {package}, which makes the HTML page; {advice}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_page_that_cannot_be_written_leaves_nothing_behind(run, tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*page\.html"):
        html.write_page(run, sample.bundle_manifest(), tmp_path / "page.html")
    assert not list((tmp_path / "page.html").iterdir())
    assert not list(tmp_path.glob(".*"))


DAMAGED = [
    ("report.json", b"[1]", r"report\.json: expected a JSON object"),
    ("report.json", b"\xff", r"report\.json: expected a JSON object"),
    ("log.jsonl", b"{}\n[", r"log\.jsonl: expected a JSON object a line"),
    ("log.jsonl", b"3\n", r"log\.jsonl: expected a JSON object a line"),
    ("evaluation.npz", b"PK", r"evaluation\.npz: expected images"),
]


@pytest.mark.parametrize(("file", "content", "message"), DAMAGED)
def test_a_damaged_file_is_named(run, tmp_path, file, content, message):
    (run / file).write_bytes(content)
    with pytest.raises(InputError, match=message):
        html.write_page(run, sample.bundle_manifest(), tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


MISFITS = [
    ("strip_said_clean", np.zeros((2, 3), np.int64)),
    ("strip_attacked", np.zeros((2, 4, 4, 1), np.float32)),
    ("strip_labels", np.zeros(2, np.float32)),
    ("labels", np.zeros(2, np.int64)),
    ("images", np.zeros((3, 4, 4, 2), np.uint8)),
]


@pytest.mark.parametrize(("name", "array"), MISFITS)
def test_arrays_that_do_not_fit_together_are_named(run, tmp_path, name, array):
    np.savez(run / "evaluation.npz", **{**sample.arrays(), name: array})
    with pytest.raises(InputError, match=r"evaluation\.npz: expected images .* run eed-edge attack again"):
        html.write_page(run, sample.bundle_manifest(), tmp_path / "page.html")


def test_without_a_report_the_commands_that_make_one_are_named(tmp_path):
    with pytest.raises(InputError, match="run eed-edge attack or eed-edge bench"):
        html.write_page(tmp_path, sample.bundle_manifest(), tmp_path / "page.html")


def test_the_page_is_made_without_torch_and_onnxruntime():
    code = "import eed_edge.html.page, eed_edge.html.inputs, sys; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    assert not {"torch", "onnxruntime", "matplotlib.pyplot"} & set(modules)


def test_importing_the_package_imports_neither_matplotlib_nor_jinja():
    code = "import eed_edge.html, sys; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    assert not {"matplotlib", "jinja2", "numpy"} & set(modules)


def test_every_file_that_is_no_module_is_packed_into_the_wheel():
    import configparser

    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    packed = parser["options.package_data"]
    for path in (ROOT / "eed_edge").rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            name = path.relative_to(ROOT).as_posix()
            patterns = [
                f"{package.replace('.', '/')}/{each.strip()}"
                for package, files in packed.items()
                for each in files.split(",")
            ]
            assert any(fnmatch(name, pattern) for pattern in patterns), name


def test_the_command_writes_the_page_of_a_real_run(flow: Flow, tmp_path):
    run = shutil.copytree(flow.run, tmp_path / "run")
    figures = {
        "accuracy": sample.full_report()["accuracy"],
        "evaluated": open_run(run).evaluated_digest(flow.bundle).hexdigest(),
    }
    (run / "report.json").write_text(json.dumps(figures))
    result = call("report", run, flow.bundle, "--html", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "page.html") in result.output
    assert "Learning curves" in (tmp_path / "page.html").read_text()


@pytest.fixture
def judged(flow: Flow, tmp_path):
    """The small run, a report of it, and a function that prints it in both forms and returns the errors."""
    run = shutil.copytree(flow.run, tmp_path / "judged")

    def errors_of(figures) -> list[str]:
        (run / "report.json").write_text(json.dumps(figures))
        results = [call("report", run, flow.bundle, *to) for to in ((), ("--html", tmp_path / "page.html"))]
        assert len({result.exit_code for result in results}) == 1
        return [result.output for result in results] if results[0].exit_code else []

    report = sample.full_report()
    del report["curves"]
    return run, errors_of, {**report, "evaluated": open_run(run).evaluated_digest(flow.bundle).hexdigest()}


@pytest.mark.parametrize("other", ["base.safetensors", "narrow.safetensors", "bundle"])
def test_figures_of_other_files_are_not_shown(judged, other):
    run, errors_of, report = judged
    assert errors_of(report) == []
    if other == "bundle":
        report["evaluated"] = "0" * 64
    else:
        (run / other).write_bytes(b"another network")
    errors = errors_of(report)
    assert len(errors) == 2
    for error in errors:
        assert error.startswith("error: ")
        assert "got those of other files; run eed-edge attack again" in error
        assert error.count("\n") == 1


def test_times_of_another_bundle_are_not_shown(judged, flow: Flow):
    _, errors_of, report = judged
    report["latency"]["bundle"] = manifest_digest(flow.bundle)
    assert errors_of(report) == []
    report["latency"]["bundle"] = "0" * 64
    errors = errors_of(report)
    assert len(errors) == 2
    for error in errors:
        assert "got those of another; run eed-edge bench" in error
        assert error.count("\n") == 1


def test_figures_of_bench_and_narrow_alone_are_shown(judged):
    _, errors_of, report = judged
    assert errors_of({key: report[key] for key in ("machine", "latency", "narrow", "submodels_used")}) == []


@pytest.mark.parametrize("damage", [{"clean": 3}, {"clean": {"dense": 0.5}}, [1]])
def test_a_damaged_report_is_one_clear_line_in_both_forms(judged, damage):
    _, errors_of, report = judged
    errors = errors_of(report | {"accuracy": damage})
    assert len(errors) == 2
    for error in errors:
        assert "report.json" in error
        assert "is not as docs/REPORT.md describes it" in error
        assert error.count("\n") == 1
