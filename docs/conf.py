"""Sphinx settings: ``make docs`` builds the repository's Markdown files into one site."""

import os
import re
from typing import Any

import eed_edge

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


def list_other_pages(app: Any, docname: str, source: list[str]) -> None:
    """Put every page of docs/ that no list of the start page names into its last list."""
    if docname == root_doc:
        pages = {name.removeprefix("docs/") for name in app.env.found_docs if name.startswith("docs/")}
        pages = {name for name in pages if not name.startswith("adding-")}
        lines = source[0].split("\n")
        source[0] = source[0].replace("(other pages)", "\n".join(sorted(pages - {"index", *lines})))


def list_fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make a list of a docstring's lines ``field: what it is``."""
    lines[:] = [re.sub(r"^(\w+): (?=\S)", r":\1: ", line) for line in lines]


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", list_other_pages)
    app.connect("autodoc-process-docstring", list_fields)
