"""What a Markdown text names: paths, definitions in modules, Makefile targets; and whether it is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "tests" / "formats" / "version-0.1"
ENDINGS = r"\.(py|md|toml|jsonl?|npz|onnx|cfg|txt|mjs|js|wasm|html|cpp|png|ppm|safetensors|state)"
# What commands make lies in these folders, and is there if the stored run or bundle has it.
MADE_IN = {"build/demo/run": "run", "build/demo/bundle": "bundle", "RUN": "run", "BUNDLE": "bundle"}
MADE_IN |= {"run": "run", "bundle": "bundle"}
MADE_BY_MAKE = {"build/demo/report.json", "build/demo/report.html", "build/docs/index.html"}
# What commands leave since the stored run and bundle were made; tests/evaluate and tests/export read them.
MADE_SINCE = {
    *(f"{run}/{name}" for run in ("RUN", "run") for name in ("per_image.npz", "judged.jsonl", "notes.json")),
    "run/latency-table.json",
    "dense-int8.onnx",
    "networks.json",
}
# What is the reader's own, on a device or elsewhere; each is in a text, or the test says so.
READERS = {
    "cat.png",
    "picture.png",
    "picture.ppm",
    "report.html",
    "my-pictures.toml",
    "here.json",
    "pi5.json",
    "run/single.onnx",
    "test/",
    "val/",
    "train.npz",
    "val.npz",
    "test.npz",
    "name.npz[i]",
    "/path/to/onnxruntime",
    "build/classify",  # of docs/examples/cpp
    "node_modules/onnxruntime-node/bin",
    "/browser/",  # of the server that the line starts
    "dist/",
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    ".venv/bin/python",
    "eed_edge/gate_rules/lead_rule.py",
    "eed_edge/export/lead_graph.py",
    "eed_edge/evaluate/adaptive/lead_soft.py",
}
NAME_LIST = re.compile(r"([\w/]+\.py): ([\w, ]+)")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
SPAN = re.compile(r"`([^`]+)`")
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOTTED = re.compile(r"\beed_edge(?:\.\w+)+")
METADATA = {"eed_edge.manifest", "eed_edge.classes"}  # keys inside cascade.onnx


def code_of(text: str) -> list[str]:
    """The contents of code blocks and of backticks, broken lines joined."""
    # {...} is a directive of Sphinx
    shown = [code for kind, code in BLOCK.findall(text) if kind != "text" and "{" not in kind]
    blocks = [block.replace("\\\n", " ") for block in shown]
    return blocks + [span.replace("\n", " ") for span in SPAN.findall(BLOCK.sub("", text))]


def paths_of(text: str) -> set[str]:
    """Links, and the words of code that look like a path: a slash between names, or a known ending."""
    links = {link for link in LINK.findall(text) if "://" not in link}
    for code in code_of(text):
        for word in NAME_LIST.sub(r"\1", code).split():
            word = re.split(r"[=(\"']", word.strip("\"'()…,;"))[-1].rstrip(":.")
            slash = re.fullmatch(r"[.~]{0,2}/?[A-Za-z_.<][\w.<>*-]+(/[\w.<>*-]+)*/?", word) and "/" in word
            if slash or re.search(rf"[\w>*]{ENDINGS}(\[\w\])?$", word):
                links.add(word)
    return links


def is_there(path: str, folder: Path) -> bool:
    """Whether a path is a file or folder of the repository, or one that a command makes.

    Args:
        folder: where the Markdown file lies. Words in capitals or angle brackets stand for any name.
    """
    if path.startswith("~/") or path in READERS | MADE_BY_MAKE | MADE_SINCE:
        return True
    for prefix, stored in MADE_IN.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            return _exists(STORED / stored, path.removeprefix(prefix).strip("/"))
    if "/" not in path and any((STORED / made / path).is_file() for made in ("run", "bundle")):
        return True
    places = (folder, ROOT, ROOT / "eed_edge", *(ROOT / "docs" / "examples").iterdir())
    return any(_exists(place, path.strip("/")) for place in places)


def _exists(place: Path, path: str) -> bool:
    pattern = re.sub(r"<\w+>|\b[A-Z]{3,}\b(?!\.md)", "*", path)
    if "*" in pattern:
        return any(place.glob(pattern))
    return place.is_dir() and (place / path).exists()


def definitions_of(text: str) -> set[tuple[str, str]]:
    """``(module's path, name)`` of ``train/losses.py: misclassified``, dotted names and imports."""
    code = "\n".join(code_of(text))
    names_in_code = {
        (path, name.strip()) for path, names in NAME_LIST.findall(code) for name in names.split(",")
    }
    for module, names in re.findall(r"^from (eed_edge[\w.]*) import ([\w, ]+)$", code, re.MULTILINE):
        names_in_code |= {(f"{module.replace('.', '/')}.py", name.strip()) for name in names.split(",")}
    for dotted in set(DOTTED.findall(code)) - METADATA:
        parts = dotted.split(".")
        if _module("/".join(parts)) is None:
            names_in_code.add(("/".join(parts[:-1]) + ".py", parts[-1]))
    return names_in_code


def is_defined(path: str, name: str) -> bool:
    """Whether that module of the package defines the name, by its source alone."""
    file = _module(path.removesuffix(".py"))
    return file is not None and name in _defined(file)


def _module(path: str) -> Path | None:
    for place in (ROOT, ROOT / "eed_edge"):
        for file in (place / f"{path}.py", place / path / "__init__.py"):
            if file.is_file():
                return file
    return None


def _defined(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            names.add(getattr(target, "id", ""))
            if getattr(target, "id", "") == "__all__" and node.value is not None:
                names |= set(ast.literal_eval(node.value))
    return names
