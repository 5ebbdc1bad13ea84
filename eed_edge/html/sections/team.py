"""Charts of the team: agreement of members, robust diversity, channel widths."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from eed_edge.html.components import (
    Chart,
    Row,
    Table,
    row,
)
from eed_edge.html.inputs import PageInputs
from eed_edge.html.plot import BLUE, COLOURS, FAINT, INK, MARKS, ORANGE, RED, drawing
from eed_edge.report import formats
from eed_edge.report.names import attack_title


def agreement_section(sources: PageInputs) -> Chart:
    """Pairwise agreement of the members' labels."""
    curve = sources.report["curves"]["agreement"]
    title = "Agreement of the sub-models"
    caption = "Share of images, in percent, on which two sub-models give the same label."
    with drawing(title, caption, height=2.7, axes=len(curve)) as drawn:
        for axes, (name, shares) in zip(drawn.axes, curve.items(), strict=True):
            _matrix(axes, attack_title(name), shares)
    rows = tuple(
        Row(f"{attack_title(name)}, sub-model {i + 1}", row("", *map(formats.percent, shares)).cells)
        for name, matrix in curve.items()
        for i, shares in enumerate(matrix)
    )
    columns = ("", *(f"Sub-model {i + 1}" for i in range(len(next(iter(curve.values()), ())))))
    return Chart(title, caption, drawn.svg, Table(title, columns, rows))


def _matrix(axes: Axes, title: str, shares: Sequence[Sequence[float]]) -> None:
    names = [str(i + 1) for i in range(len(shares))]
    axes.pcolormesh([[100 * value for value in one] for one in shares], cmap="cividis", vmin=0, vmax=100)
    ticks = [i + 0.5 for i in range(len(shares))]
    axes.set(title=title, aspect="equal", xticks=ticks, yticks=ticks, xticklabels=names, yticklabels=names)
    axes.invert_yaxis()
    axes.grid(visible=False)
    if len(shares) > 6:
        return
    for i, one in enumerate(shares):
        for j, value in enumerate(one):
            axes.text(
                j + 0.5,
                i + 0.5,
                f"{100 * value:.0f}",
                ha="center",
                va="center",
                color="#111111" if value > 0.5 else "#ffffff",
            )


def diversity_section(sources: PageInputs) -> Chart:
    """Robust diversity of all candidate teams against team size, as in the paper's figure 4."""
    curve = sources.report["curves"]["rd"]
    rows, selected = sorted(curve["rows"], key=lambda item: item["size"]), curve["chosen"]
    sizes = [item["size"] for item in rows]
    title = "Robust diversity against team size"
    caption = (
        "How rarely two members of a team err on the same attacked image (robust diversity, RD), before joint"
        " training: lowest, mean and highest of all teams of each size. The star is the selected team,"
        f" {selected['size']} members with RD {selected['rd']:.3f}; the paper asks for"
        f" {curve['threshold']:g}."
    )
    if "rd" in sources.report:
        caption += f" After joint training the team's RD is {sources.report['rd']:.3f}."
    with drawing(title, caption) as drawn:
        axes = drawn.only
        low, mean, high = ([item[key] for item in rows] for key in ("min", "mean", "max"))
        axes.fill_between(sizes, low, high, color=BLUE, alpha=0.2, lw=0, label="lowest to highest")
        axes.plot(sizes, mean, "o-", color=BLUE, label="mean")
        axes.axhline(curve["threshold"], color=RED, ls="--", lw=1.2, label=f"paper's {curve['threshold']:g}")
        axes.plot(
            selected["size"], selected["rd"], "*", ms=14, color=ORANGE, mec=INK, mew=0.8, label="chosen"
        )
        axes.set(xlabel="members", ylabel="robust diversity", xticks=sizes)
        drawn.legend(2)
    cells = tuple(
        row(
            str(item["size"]),
            formats.count(item["teams"]),
            *(f"{item[key]:.3f}" for key in ("min", "mean", "max")),
        )
        for item in rows
    )
    table = Table(title, ("Members", "Teams", "Lowest", "Mean", "Highest"), cells)
    return Chart(title, caption, drawn.svg, table)


def widths_section(sources: PageInputs) -> Chart:
    """Channels left by pruning in each layer of each sub-model, relative to dense."""
    curve = sources.report["curves"]["widths"]
    layers, each = curve["layers"], curve["each"]
    title = "Channels of every layer"
    caption = "Output channels left by pruning, a mark for each sub-model; input at the top, dense in grey."
    with drawing(title, caption, height=1.3 + 0.24 * len(layers)) as drawn:
        axes, places = drawn.only, range(len(layers))
        axes.barh(places, curve["dense"], 0.7, color=FAINT, label="dense")
        for i, channels in enumerate(each):
            axes.plot(
                channels,
                places,
                MARKS[i % len(MARKS)],
                color=COLOURS[i % len(COLOURS)],
                mec=INK,
                mew=0.5,
                label=str(i + 1),
            )
        axes.set_yticks(places, layers)
        axes.set(xlabel="channels", xlim=(0, None), ylim=(len(layers) - 0.4, -0.6))
        axes.grid(axis="y", visible=False)
        drawn.legend(5)
    cells = tuple(
        row(layer, str(curve["dense"][i]), *(str(channels[i]) for channels in each))
        for i, layer in enumerate(layers)
    )
    columns = ("Layer", "Dense", *(f"Sub-model {i + 1}" for i in range(len(each))))
    return Chart(title, caption, drawn.svg, Table(title, columns, cells))
