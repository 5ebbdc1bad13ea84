"""Run every code block of README and docs in order, each page in a folder of its own.

    python -m tests.docs.run_blocks [PAGE…]

The README goes first, from a folder with drawn pictures; every other page starts from a copy of what it has
left: ``run`` and ``bundle``. SMALL in a replacement stands for settings that make a training short.
"""

import os
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from PIL import Image

from tests.docs.code_blocks import PAGES, ROOT, Block, blocks_of
from tests.shapes import draw_shapes

SCRATCH = ROOT / "build" / "docs-test"
SETTINGS = [
    "data.size=16",
    "base.epochs=4",
    "base.judge_steps=2",
    "pool.epochs=1",
    "pool.subsets=2",
    "joint.epochs=1",
    "gate.steps=2",
    "scores.images=8",
    'scores.names=["erm"]',
    "prune.member_share=0.4",
    "prune.sparsity=0.2",
    "select.member_gap=1",
]
SMALL = " ".join(f"--set '{setting}'" for setting in SETTINGS)


def main(names: list[str]) -> int:
    """Run the pages named, or all; print a line per block and the counts."""
    pages = [page for page in PAGES if not names or page.name in names or page.name == "README.md"]
    shutil.rmtree(SCRATCH, ignore_errors=True)
    _draw(SCRATCH / "README")
    _command(SCRATCH / "bin")
    failed = 0
    for page in pages:
        place = SCRATCH / page.stem
        if not place.exists():
            shutil.copytree(SCRATCH / "README", place)
        command = [sys.executable, "-m", "tests.docs.run_blocks", "--in", str(place), str(page)]
        failed += subprocess.run(command, cwd=ROOT, check=False).returncode != 0
        if failed and page.name == "README.md":
            return 1  # the others go on from there
    blocks = [block for page in pages for block in blocks_of(page)]
    left_out = [block for block in blocks if block.reason]
    print(f"\n{sum(not block.reason and block.kind != 'text' for block in blocks)} blocks run, ", end="")
    print(f"{failed} pages failed, {len(left_out)} blocks not run:")
    print(*(f"  {block.place}: {block.reason}" for block in left_out), sep="\n")
    return 1 if failed else 0


def run_page(page: Path, place: Path) -> int:
    """Run a page's blocks in the folder ``place``; 1 at the first that fails."""
    os.chdir(place)
    names: dict[str, Any] = {"__name__": "page", "SMALL": SETTINGS}
    for block in blocks_of(page):
        if block.reason or block.kind == "text":
            continue
        start = time.monotonic()
        try:
            problem = _shell(block) if block.kind == "sh" else _python(block, names)
        except Exception:
            problem = traceback.format_exc()
        print(f"{'FAILED' if problem else 'ok'}  {block.place}  {time.monotonic() - start:.1f} s", flush=True)
        if problem:
            print(f"{block.runnable}\n{problem}", flush=True)
            return 1
    return 0


def _shell(block: Block) -> str:
    path = f"{SCRATCH / 'bin'}{os.pathsep}{os.environ['PATH']}"
    code = block.runnable.replace("SMALL", SMALL)
    words = ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(
        words, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    return f"{done.stdout}{done.stderr}exit code {done.returncode}" if done.returncode else ""


def _python(block: Block, names: dict[str, Any]) -> str:
    exec(compile(block.runnable, block.place, "exec"), names)  # names stay for the page's next block
    return ""


def _draw(place: Path) -> None:
    """What a reader of the README has: pictures in folders, and single ones."""
    draw_shapes(place / "my-pictures", each=60, side=16)
    first = place / "my-pictures" / "circle" / "000.png"
    shutil.copy(first, place / "cat.png")
    (place / "frames").mkdir()
    for i in range(3):
        Image.open(first).save(place / "frames" / f"{i}.jpg")


def _command(place: Path) -> None:
    """``eed-edge`` and ``python`` of this interpreter and this checkout, whatever is installed."""
    place.mkdir()
    for name, words in (("eed-edge", "-m eed_edge"), ("python", ""), ("python3", "")):
        path = f"{ROOT}${{PYTHONPATH:+:$PYTHONPATH}}"
        (place / name).write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec {sys.executable} {words} "$@"\n')
        (place / name).chmod(0o755)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in"]:
        raise SystemExit(run_page(Path(sys.argv[3]), Path(sys.argv[2])))
    raise SystemExit(main(sys.argv[1:]))
