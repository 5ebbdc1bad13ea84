"""The lines that ``eed-edge inspect`` prints about a network."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eed_edge.examine import Examination
    from eed_edge.examine.subject import Subject
    from eed_edge.recipe import Recipe
    from eed_edge.train.networks.build import Classifier


def inspection_lines(
    recipe: "Recipe", net: "Classifier", subject: "Subject", examination: "Examination"
) -> Iterator[str]:
    """Cost, notes, prunable groups and the smallest team, a line each; faults come last."""
    from eed_edge.prune.channels.layer_cost import count_cost
    from eed_edge.prune.member_time import time_budget
    from eed_edge.prune.widths import smallest_share
    from eed_edge.train.data.batches import as_float

    params, macs = count_cost(net, as_float(subject.few.images[:1]))
    shape = "×".join(str(size) for size in subject.few.images.shape[1:])
    yield f"{recipe.net.arch}: {params:,} parameters, {macs:,} MACs for {shape}, {subject.classes} classes"
    for note in examination.notes:
        yield f"note: {note}"
    if examination.dry is None:
        return
    structure, round_to = examination.dry.structure, recipe.prune.round_to
    yield f"{'prunable group':<40}{'channels':>9}{'member':>8}  layers"
    for group in structure.groups:
        width = examination.dry.widths[group.root]
        yield f"{group.root:<40}{group.channels:>9}{width:>8}  {', '.join(group.producers)}"
    share = smallest_share(structure, round_to=round_to, branches=recipe.prune.branches)
    yield (
        f"smallest member: {share:.3f} of the base; smallest team: two of them, {2 * share:.3f}"
        f" (the recipe asks for members of {recipe.prune.member_share:g}, a team of"
        f" {1 - recipe.prune.sparsity:g})"
    )
    member = count_cost(examination.dry.member, as_float(subject.few.images[:1]))
    yield f"a member of the recipe's size: {member[0]:,} parameters, {member[1]:,} MACs"
    time = time_budget(structure, tuple(subject.few.images.shape[1:]), recipe.prune)
    if time is not None:
        ms = time.of_widths(examination.dry.widths)
        yield (
            f"by the latency table it takes {ms:.3g} ms of at most {time.most_ms:.3g} on {time.table.cpu},"
            f" in {time.table.precision}"
        )
    if not examination.faults:
        yield "no fault found"


def inspection_figures(
    recipe: "Recipe", net: "Classifier", subject: "Subject", examination: "Examination"
) -> dict[str, Any]:
    """The same as an object: parameters and MACs of the network and of a member, notes, prunable groups."""
    from eed_edge.prune.channels.layer_cost import count_cost
    from eed_edge.train.data.batches import as_float

    image, dry = as_float(subject.few.images[:1]), examination.dry
    params, macs = count_cost(net, image)
    figures: dict[str, Any] = {"arch": recipe.net.arch, "classes": subject.classes}
    figures |= {"input": list(image.shape[1:]), "params": params, "macs": macs}
    figures["notes"] = list(examination.notes)
    if dry is not None:
        params, macs = count_cost(dry.member, image)
        figures["member"] = {"params": params, "macs": macs}
        figures["groups"] = [
            {"name": group.root, "channels": group.channels, "kept": dry.widths[group.root]}
            for group in dry.structure.groups
        ]
    return figures
