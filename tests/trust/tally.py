"""What ``make trust`` counts, how it is printed, and which counts must be zero."""

import sys
from dataclasses import dataclass, field

MOST_GROWTH = 64  # MiB of a process over the whole soak
ZERO = ("accepted", "hung", "unexpected", "lost", "wrong")


@dataclass
class Tally:
    """Counts of one run.

    tried: hostile and changed files. accepted, hung, unexpected: of these.
    faults: kills, full disks, read-only folders, pairs of processes. lost: files or results that they cost.
    predictions: images answered by many threads at once. wrong: of these.
    growth_mib: of the process during the soak.
    notes: a line for every count that must be zero and is not.
    """

    tried: int = 0
    accepted: int = 0
    hung: int = 0
    unexpected: int = 0
    faults: int = 0
    lost: int = 0
    predictions: int = 0
    wrong: int = 0
    growth_mib: float = 0.0
    notes: list[str] = field(default_factory=list)

    def count(self, name: str, note: str) -> None:
        """Add one to a count that must be zero, and say why."""
        setattr(self, name, getattr(self, name) + 1)
        self.notes.append(f"{name}: {note!r:.300}")
        print(self.notes[-1], file=sys.stderr, flush=True)

    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not any(getattr(self, name) for name in ZERO) and self.growth_mib <= MOST_GROWTH

    def table(self) -> str:
        """A line for every count; what must be zero says so."""
        lines = []
        for name in ("tried", *ZERO[:3], "faults", "lost", "predictions", "wrong"):
            must = "  must be 0" if name in ZERO else ""
            lines.append(f"{name:<16}{getattr(self, name):>9,}{must}")
        lines.append(f"{'memory growth':<16}{self.growth_mib:>9.1f}  MiB, at most {MOST_GROWTH}")
        return "\n".join(lines)
