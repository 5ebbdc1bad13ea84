import json
import os
import subprocess
from datetime import UTC, date, datetime
from math import comb

import pytest

from eed_edge.errors import InputError
from eed_edge.report import commit, environment, machine, merge_report, wilson
from eed_edge.report.names import attack_title, attacks_in_order


def test_the_machine_is_described_and_only_installed_packages_have_a_version():
    facts = machine()
    assert set(facts) == {"date", "cpu", "cores", "os", "python", "versions"}
    assert facts["cpu"]
    assert abs(datetime.now(UTC).date() - date.fromisoformat(facts["date"])).days <= 1
    assert facts["cores"] >= 1
    assert facts["versions"]["numpy"]
    assert "foolish-package" not in facts["versions"]
    json.dumps(facts)


def test_a_package_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(environment, "_PACKAGES", ("numpy", "no-such-package"))
    assert list(machine()["versions"]) == ["numpy"]


def git(folder, *words):
    identity = {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-C", str(folder), *words]
    facts = subprocess.run(
        command, env={**os.environ, **identity}, capture_output=True, check=True, text=True
    )
    return facts.stdout.strip()


@pytest.fixture
def source_tree(tmp_path, monkeypatch):
    """A repository with a package ``eed_edge`` that holds the report module."""
    package = tmp_path / "eed_edge"
    package.mkdir()
    (package / "report").mkdir()
    (package / "report" / "environment.py").write_text("")
    git(tmp_path, "init", "-q")
    monkeypatch.setattr(environment, "__file__", str(package / "report" / "environment.py"))
    return tmp_path


def test_the_commit_is_that_of_the_source_tree_and_says_when_files_differ(source_tree):
    assert commit() == "unknown"
    git(source_tree, "add", ".")
    git(source_tree, "commit", "-q", "-m", "first")
    head = git(source_tree, "rev-parse", "HEAD")
    assert commit() == head
    (source_tree / "results.json").write_text("{}")
    assert commit() == head
    (source_tree / "eed_edge" / "new.py").write_text("")
    assert commit() == f"{head}-dirty"


def test_a_package_installed_below_another_repository_has_no_commit(source_tree, monkeypatch):
    site = source_tree / "venv" / "site-packages" / "eed_edge"
    site.mkdir(parents=True)
    git(source_tree, "add", ".")
    git(source_tree, "commit", "-q", "-m", "first")
    monkeypatch.setattr(environment, "__file__", str(site / "report" / "environment.py"))
    assert commit() == "unknown"


def test_a_package_that_the_repository_around_it_does_not_track_has_no_commit(source_tree):
    (source_tree / "other.txt").write_text("")
    git(source_tree, "add", "other.txt")
    git(source_tree, "commit", "-q", "-m", "first")
    assert commit() == "unknown"


def test_without_git_the_commit_is_unknown(source_tree, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit() == "unknown"


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (29, 29, 0.8830, 1.0)],
)
def test_wilson_gives_the_published_intervals(right, images, low, high):
    """R. G. Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I; method 3."""
    assert wilson(right, images) == pytest.approx((low, high), abs=6e-5)


def test_wilson_covers_the_truth_about_95_times_in_100():
    for p in (0.1, 0.5, 0.9):
        inside = [low <= p <= high for low, high in (wilson(k, 100) for k in range(101))]
        covered = sum(comb(100, k) * p**k * (1 - p) ** (100 - k) for k in range(101) if inside[k])
        assert 0.93 < covered < 0.97


def test_wilson_of_nothing_is_everything_and_of_nonsense_an_error():
    assert wilson(0, 0) == (0.0, 1.0)
    for right, images in ((2, 1), (-1, 5)):
        with pytest.raises(InputError, match=f"expected 0 <= right <= images, got {right} of {images}"):
            wilson(right, images)


def test_figures_are_merged_object_by_object(tmp_path):
    path = tmp_path / "run" / "report.json"
    merge_report(path, {"accuracy": {"clean": {"dense": 0.9}}, "seed": 1, "latency": 5})
    merged = merge_report(
        path, {"accuracy": {"clean": {"static": 0.8}, "pgd20": {}}, "seed": 2, "latency": {"a": 1}}
    )
    assert merged == json.loads(path.read_text())
    assert merged == {
        "accuracy": {"clean": {"dense": 0.9, "static": 0.8}, "pgd20": {}},
        "seed": 2,
        "latency": {"a": 1},
    }


@pytest.mark.parametrize("text", ["[1]", "{", "\xff"])
def test_what_is_no_report_is_not_overwritten(tmp_path, text):
    path = tmp_path / "report.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(
        InputError, match=r"report\.json: expected a JSON object, got: .*; move the file away"
    ):
        merge_report(path, {"seed": 1})
    assert path.read_text(encoding="latin-1") == text


CPUINFOS = [
    ("processor : 0\nmodel name : Fast\n\nprocessor : 1\nmodel name : Slow\n", "Fast"),
    ("processor : 0\nBogoMIPS : 108.00\n\nModel : Raspberry Pi 4 Model B\n", "Raspberry Pi 4 Model B"),
]


@pytest.mark.parametrize(("text", "name"), CPUINFOS)
def test_the_cpu_is_named_as_linux_names_it(tmp_path, monkeypatch, text, name):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(environment, "_CPUINFO", tmp_path / "cpuinfo")
    assert machine()["cpu"] == name


def test_the_cpu_is_named_on_other_systems_too(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_CPUINFO", tmp_path / "nowhere")
    assert machine()["cpu"]


def test_listed_attacks_come_first_in_their_order_and_others_keep_their_name():
    assert attacks_in_order(["toy", "cw", "clean"]) == ["clean", "cw", "toy"]
    assert [attack_title(name) for name in ("pgd20", "toy")] == ["PGD-20", "toy"]
