"""Code blocks of the documents, and the comments that say how each is run or why it is not.

A block of ``sh`` or ``python`` is run by ``make docs-test`` as it stands; ``text`` is no code. The rest is
said by a comment behind the block, a line for each thing::

    <!-- docs-test: --epochs 40 => --epochs 1
    before: images = np.zeros((1, 3, 32, 32), np.float32) -->

``A => B`` replaces A before the block is run, ``before: CODE`` runs first, ``not run: REASON`` leaves it out.
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], key=lambda path: (path.name != "README.md", path)
)
"""The README first: later pages go on from what its commands have made."""
RUN = ("sh", "python")
SHOWN = ("text",)
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<kind>[^\n`]*)\n(?P<code>.*?)^ *```\n(?:\n? *<!-- docs-test: (?P<mark>.*?)-->)?",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """One fenced block: where it stands, its language, its code, and the lines of its mark."""

    page: Path
    line: int
    kind: str
    code: str
    mark: tuple[str, ...]

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def reason(self) -> str:
        """Why it is not run; empty if it is run, or no code."""
        return next(
            (line.removeprefix("not run: ") for line in self.mark if line.startswith("not run: ")), ""
        )

    @property
    def changes(self) -> list[tuple[str, str]]:
        """What is replaced by what."""
        pairs = [line.split(" => ") for line in self.mark if not line.startswith(("not run: ", "before: "))]
        return [(old, new) for old, new in pairs]

    @property
    def runnable(self) -> str:
        """The code that is run: what comes before it, then the block with its replacements."""
        code = self.code
        for old, new in self.changes:
            code = code.replace(old, new)
        before = [line.removeprefix("before: ") for line in self.mark if line.startswith("before: ")]
        return "\n".join([*before, code])


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of a page but Sphinx's directives, in order."""
    text, blocks = page.read_text(), []
    for fence in FENCE.finditer(text):
        if not fence["kind"].startswith("{"):
            code = re.sub(rf"^{fence['indent']}", "", fence["code"], flags=re.MULTILINE)
            mark = tuple(line.strip() for line in (fence["mark"] or "").strip().splitlines())
            blocks.append(Block(page, text.count("\n", 0, fence.start()) + 1, fence["kind"], code, mark))
    return blocks
