"""Try what must not be accepted, hang, get lost or be wrong, and print a table: ``make trust``.

The exit code is 1 when a count that must be zero is not. ``--long`` makes 50 kills and 500,000 predictions;
``--out FILE`` gets the counts with machine, versions and commit.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from eed_edge.atomic_files import write_json
from eed_edge.report.environment import commit, machine
from tests.trust import faults, hostile_set, soak
from tests.trust.judge import ROOT
from tests.trust.tally import Tally

SHORT = {"flips": 150, "train_kills": 4, "export_kills": 3, "predictions": 30_000}
LONG = {"flips": 2000, "train_kills": 25, "export_kills": 25, "predictions": 500_000}


def try_all(tally: Tally, folder: Path, amounts: dict[str, int]) -> dict[str, float]:
    """Fill the tally; return the seconds of each part."""
    seconds: dict[str, float] = {}

    def part(name: str) -> None:
        now = time.monotonic()
        seconds[name] = round(now - begun[-1], 1)
        begun.append(now)
        print(f"{name}: {seconds[name]} s", file=sys.stderr, flush=True)

    begun = [time.monotonic()]
    hostile_set.try_hostile_files(tally, folder)
    part("hostile files")
    hostile_set.try_changed_bytes(tally, folder, times=amounts["flips"])
    part("changed bytes")
    run, bundle, taken = faults.make_run(folder)
    part("a run and its bundle")
    pixels = np.load(ROOT / "tests" / "formats" / "version-0.1" / "data" / "test.npz")["images"]
    images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
    soak.answer_many(tally, bundle, images, predictions=amounts["predictions"])
    part("predictions")
    faults.kill_export(tally, run, bundle, kills=amounts["export_kills"], seconds=taken["export"])
    part("killed exports")
    faults.fill_disk(tally, folder, run, bundle)
    part("full disks")
    faults.race(tally, folder, run, bundle)
    part("pairs of processes")
    faults.kill_training(tally, folder, run, kills=amounts["train_kills"], seconds=taken["train"])
    part("killed trainings")
    return seconds


def main() -> int:
    """Run, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="500,000 predictions and 50 kills")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "trust.json")
    words = parser.parse_args()
    os.chdir(ROOT)
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="eed-edge-trust-") as folder:
        seconds = try_all(tally, Path(folder), LONG if words.long else SHORT)
    print(tally.table())
    record = {"command": "make trust" + (" LONG=1" if words.long else ""), "commit": commit()}
    words.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(words.out, {**record, **machine(), **vars(tally), "seconds": seconds, "holds": tally.holds()})
    return 0 if tally.holds() else 1


if __name__ == "__main__":
    sys.exit(main())
