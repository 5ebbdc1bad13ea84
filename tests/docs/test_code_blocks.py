"""Every code block of README and docs is run by ``make docs-test``, or says why it is not."""

import ast

import pytest

from tests.docs.code_blocks import PAGES, ROOT, RUN, SHOWN, Block, blocks_of

BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_a_block_is_run_or_says_why_not(block: Block):
    assert block.kind in RUN + SHOWN or block.reason, (
        f"{block.place}: expected sh, python or text behind ```, or a comment behind the block:"
        " <!-- docs-test: not run: REASON -->"
    )
    assert not block.reason or len(block.reason.split()) > 2, f"{block.place}: a reason is a sentence"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.changes], ids=lambda block: block.place)
def test_what_is_replaced_in_a_block_is_there(block: Block):
    for old, _ in block.changes:
        assert old in block.code, f"{block.place}: no {old!r} to replace"


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.kind == "python"], ids=lambda block: block.place
)
def test_python_blocks_are_python(block: Block):
    ast.parse(block.runnable)


def test_a_block_without_a_language_or_a_mark_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```\nls\n```\n\n```cpp\nint i;\n```\n\n<!-- docs-test: not run: needs a compiler -->\n")
    bare, marked = blocks_of(page)
    assert (bare.kind, bare.reason, bare.line) == ("", "", 1)
    assert (marked.kind, marked.reason, marked.code) == ("cpp", "needs a compiler", "int i;\n")


def test_replacements_and_what_comes_before_are_in_what_is_run(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nrun --epochs 40\n```\n<!-- docs-test: --epochs 40 => --epochs 1\nbefore: cd x -->\n"
    )
    (block,) = blocks_of(page)
    assert block.runnable == "cd x\nrun --epochs 1\n"


def test_the_documents_have_blocks_of_both_languages():
    assert {"sh", "python"} <= {block.kind for block in BLOCKS}
    assert {page.name for page in PAGES} >= {"README.md", "TUTORIAL.md", "RUNTIME.md"}
    assert ROOT.joinpath("Makefile").read_text().count("tests.docs.run_blocks") == 1
