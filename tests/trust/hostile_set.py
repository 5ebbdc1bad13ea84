"""Every hostile file of ``tests/hostile`` and bundles with one byte changed, through those who read them."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.hostile.hostile_bundles import HOSTILE_BUNDLES
from tests.hostile.npz_files import HOSTILE_NPZ
from tests.hostile.pictures import HOSTILE_PICTURES
from tests.hostile.weights_files import HOSTILE_WEIGHTS
from tests.trust.judge import ROOT, Judge
from tests.trust.tally import Tally

GOOD = ROOT / "tests" / "formats" / "version-0.1" / "bundle"
BUNDLES = (GOOD, ROOT / "tests" / "formats" / "version-0.2" / "bundle")
FINE_AS_PICTURES = ("other_pictures", "other_size")  # refused where a network's size is known


def try_hostile_files(tally: Tally, folder: Path) -> None:
    """All generators, each judged in a process that may be killed."""
    with Judge() as judge:
        for name, generate in HOSTILE_BUNDLES.items():
            place = folder / "bundle"
            generate(GOOD, place)
            _judge(tally, judge, "bundle", place, name)
            shutil.rmtree(place)
        for kind, makers in (
            ("picture", HOSTILE_PICTURES),
            ("npz", HOSTILE_NPZ),
            ("weights", HOSTILE_WEIGHTS),
        ):
            for make in makers:
                if make.__name__ not in FINE_AS_PICTURES:
                    _try_one(tally, judge, kind, make, folder / "one")


def _try_one(tally: Tally, judge: Judge, kind: str, make: Callable[[Path], Path], place: Path) -> None:
    place.mkdir()
    _judge(tally, judge, kind, make(place), make.__name__)
    if (place / "sprung").exists():
        tally.count("accepted", f"{make.__name__} ran code")
    shutil.rmtree(place)


def try_changed_bytes(tally: Tally, folder: Path, *, times: int, seed: int = 0) -> None:
    """One byte of one file of a bundle, changed at random."""
    chance = random.Random(seed)
    with Judge() as judge:
        for _ in range(times):
            place = shutil.copytree(chance.choice(BUNDLES), folder / "changed")
            file = chance.choice(sorted(place.iterdir()))
            raw = bytearray(file.read_bytes())
            at = chance.randrange(len(raw))
            raw[at] ^= chance.randint(1, 255)
            file.write_bytes(raw)
            _judge(tally, judge, "bundle", place, f"{file.name}, byte {at}")
            shutil.rmtree(place)


def _judge(tally: Tally, judge: Judge, kind: str, path: Path, name: str) -> None:
    tally.tried += 1
    verdict, message = judge.ask(kind, path)
    if verdict != "refused":
        tally.count(verdict, f"{kind} {name}: {message}")
