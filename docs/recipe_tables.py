"""The recipe's fields as Markdown tables, from the sentences behind them in the code."""

import ast
import inspect
import json
from typing import Any

from eed_edge.recipe import sections, training_sections

HEADS = {"Training": "base, pool and joint", "Recipe": "The recipe itself"}
OF_ALL = "Fields of all three; each can have further ones and other defaults, below."


def tables() -> str:
    """A heading and a table for each section: field, default, what it is."""
    parts = []
    for module in (training_sections, sections):
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef):
                parts.append(_table(getattr(module, node.name), node))
    return "\n\n".join(parts)


def _table(cls: Any, node: ast.ClassDef) -> str:
    """Heading and table of one section."""
    rows = [
        f"| `{name}` | `{default}` | {text} |"
        for name, text in _fields(node)
        if (default := _default(cls, name))
    ]
    intro = OF_ALL if node.name == "Training" else inspect.getdoc(cls)
    head = HEADS.get(node.name, f"`[{node.name.lower()}]`")
    return f"## {head}\n\n{intro}\n\n| field | default | |\n|---|---|---|\n" + "\n".join(rows)


def _fields(node: ast.ClassDef) -> list[tuple[str, str]]:
    """Name and sentence of each field that the class itself defines."""
    found = []
    for field, after in zip(node.body, [*node.body[1:], ast.Pass()], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = " ".join(str(after.value.value).split()).replace("|", "\\|").replace("``", "`")
            found.append((field.target.id, text))
    return found


def _default(cls: Any, name: str) -> str:
    """The default as a recipe would write it; empty for a section."""
    value = cls.__dataclass_fields__[name].default
    return "" if hasattr(value, "__dataclass_fields__") else json.dumps(value)
