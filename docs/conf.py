"""Sphinx settings: ``make docs`` builds the repository's Markdown files into one site."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import eed_edge

sys.path.insert(0, str(Path(__file__).parent))
from recipe_tables import tables

project = "eed-edge"
author = copyright = "the authors of eed-edge"
version = release = eed_edge.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "benchmarks/README.md", "models/*/card.md"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
os.environ["COLUMNS"] = "80"  # of the command line's help, whatever terminal builds the site

html_theme = "furo"
html_title = f"eed-edge {version}"
html_copy_source = False
html_show_sphinx = False
templates_path = ["templates"]
html_additional_pages = {"index": "redirect.html"}


def fill_in(app: Any, docname: str, source: list[str]) -> None:
    """Put other pages into the start page's last list, and tables into the page of recipe fields."""
    if docname == root_doc:
        pages = {name.removeprefix("docs/") for name in app.env.found_docs if name.startswith("docs/")}
        pages = {name for name in pages if not name.startswith("adding-")}
        others = pages - {"index", *source[0].split("\n")}
        source[0] = source[0].replace("(other pages)", "\n".join(sorted(others)))
    elif docname == "docs/RECIPES":
        source[0] = source[0].replace("<!-- fields -->", tables())


def list_fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make parameters of a class's lines ``field: what it is``."""
    if what == "class":
        lines[:] = [re.sub(r"^(\w+): (?=\S)", r":param \1: ", line) for line in lines]


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", fill_in)
    app.connect("autodoc-process-docstring", list_fields)
