"""Packs every recipe under models/; all else stands in setup.cfg, which has no pattern for folders."""

from pathlib import Path

from setuptools import setup

setup(
    data_files=[
        (f"share/eed-edge/{recipe.parent.as_posix()}", [recipe.as_posix()])
        for recipe in sorted(Path("models").glob("*/recipe.toml"))
    ]
)
