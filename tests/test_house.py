"""Limits that keep the code readable: sizes of files, functions and folders, names that mean one thing."""

import ast
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "eed_edge"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in SOURCES}
PUBLIC_SIGNATURES = {
    "compare_shapes",
    "evaluate",
    "evaluate_bundle",
    "export_bundle",
    "load",
    "load_bundle",
    "train_and_print",
    "train_baseline",
    "train_team",
}
"""Functions whose options stand one by one: the Python interface, and what two commands share."""
LONGEST_FILE, LONGEST_BODY, MOST_ARGUMENTS, LARGEST_ROOM = 300, 50, 7, 14


def functions():
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                yield f"{path.relative_to(PACKAGE)}:{node.name}", node


def body_lines(node):
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def argument_count(node):
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def is_command(node):
    return any("command" in ast.unparse(decorator) for decorator in node.decorator_list)


def test_files_functions_and_folders_stay_small():
    long_files = [
        str(path) for path in (*SOURCES, *TESTS.rglob("*.py")) if path.read_text().count("\n") > LONGEST_FILE
    ]
    rooms = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    crowded = [str(room) for room, files in rooms.items() if files > LARGEST_ROOM]
    # A click command lists its options in its signature and calls other functions.
    long_bodies = [name for name, node in functions() if body_lines(node) > LONGEST_BODY]
    many = [
        name
        for name, node in functions()
        if argument_count(node) > MOST_ARGUMENTS
        and not is_command(node)
        and node.name not in PUBLIC_SIGNATURES
    ]
    assert [long_files, crowded, long_bodies, many] == [[], [], [], []]


def defined(tree):
    """Functions, classes and type aliases, whose names are in camel case, of one module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            names = (target.id for target in node.targets if isinstance(target, ast.Name))
            yield from (name for name in names if not name.isupper() and not name.islower())


def test_no_file_name_and_no_public_name_means_two_things():
    files = Counter(path.name for path in SOURCES if not path.name.startswith("__"))
    assert [name for name, count in files.items() if count > 1] == []
    names = Counter(name for tree in TREES.values() for name in defined(tree) if not name.startswith("_"))
    # Every command is a function of this name.
    assert [name for name, count in names.items() if count > 1 and name != "command"] == []
