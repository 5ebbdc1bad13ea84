"""The deployed rule against each other network, image by image: difference, interval and test."""

from collections.abc import Mapping
from typing import Any

from eed_edge.html.components import Cell, Row, Table
from eed_edge.report import formats
from eed_edge.report.names import NETWORKS, attack_title, attacks_in_order
from eed_edge.report.paired_words import COMPARISON_WORDS, comparison

PAIRED_CAPTION = (
    "Differences are taken image by image, Dynamic minus the other network, with the 95 % interval of a"
    " paired bootstrap and the p of McNemar's exact test. If the interval contains 0, or p is 0.05 or more,"
    " there is no measurable difference."
)


def paired_differences_table(paired: Mapping[str, Any]) -> Table:
    """Differences of dynamic to every other network, in points, a row per attack."""
    shown = [name for name in NETWORKS if any(name in row for row in paired.values())]
    rows = [
        Row(
            attack_title(attack),
            tuple(_difference(paired[attack].get(name)) for name in shown),
            formats.images(paired[attack]["images"]),
        )
        for attack in attacks_in_order(paired)
    ]
    columns = ("", *(NETWORKS[name] for name in shown))
    return Table("Paired differences: Dynamic minus", columns, tuple(rows), stacked=True, folded=True)


def _difference(row: Mapping[str, Any] | None) -> Cell:
    if row is None:
        return Cell(formats.NOTHING)
    detail = (
        f"{formats.points_interval(row['interval'])}; p {row['p']:.2g}; {COMPARISON_WORDS[comparison(row)]}"
    )
    return Cell(formats.points(row["difference"]), detail)
