"""Say how accurate a run's bundle is beside chance, and fail unless it is clearly better, attacked too.

python -m tests.docs.above_chance RUN/report.json --classes 3
"""

import argparse
import json
from pathlib import Path
from typing import Any

MARGIN = 0.15
"""How far the lower end of the 95 % interval must be above chance."""


def verdicts(report: dict[str, Any], classes: int) -> list[tuple[bool, str]]:
    """For each attack of the report, whether the bundle is well above chance, and a sentence that says so."""
    lines, chance = [], 1 / classes
    for attack, row in report["accuracy"].items():
        low, high = row["interval"]["dynamic"]
        well = low >= chance + MARGIN
        right = f"{100 * row['dynamic']:.1f} % of {row['images']} right ({100 * low:.1f} to {100 * high:.1f})"
        chance_words = f"{'well' if well else 'NOT well'} above chance, {100 * chance:.1f} %"
        lines.append((well, f"{attack}: {right}, {chance_words}"))
    return lines


def main() -> int:
    """Print a line per attack; 0 if the bundle is well above chance in all of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--classes", type=int, required=True)
    asked = parser.parse_args()
    lines = verdicts(json.loads(asked.report.read_text()), asked.classes)
    print(*(text for _, text in lines), sep="\n")
    return 0 if all(well for well, _ in lines) else 1


if __name__ == "__main__":
    raise SystemExit(main())
