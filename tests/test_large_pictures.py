"""Pictures of 224 pixels: memory stays within the pictures and two gigabytes."""

import os
import subprocess
import sys
from pathlib import Path

from tests.photographs import draw_set

ROOT = Path(__file__).parents[1]
SIDE, PICTURES = 224, 64
SMALL = [
    "net.width=32",
    "base.epochs=1",
    "base.judge_steps=1",
    "prune.sparsity=0.2",
    "prune.member_share=0.3",
]
MEASURED = """
import sys
from eed_edge.cli import main
from eed_edge.runtime.measure.timing import peak_rss_mib
try:
    main(sys.argv[1:])
finally:
    print("peak", peak_rss_mib())
"""


def test_training_on_224_pixels_takes_the_pictures_and_two_gigabytes_at_most(tmp_path):
    draw_set(tmp_path / "own", classes=4, counts={"train": PICTURES // 4, "test": 1}, side=260)
    words = [part for change in SMALL for part in ("--set", change)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for command in (
        ["init", "own"],
        ["train", "own.toml", "--data", "own", "--run", "run", "--until", "base", *words],
    ):
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *command],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert f"(3, {SIDE}, {SIDE})" in done.stdout
    assert float(done.stdout.split()[-1]) * 2**20 <= PICTURES * 3 * SIDE**2 + 2_000_000_000
