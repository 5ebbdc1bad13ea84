"""Match the tensors of a state dict to those of a network: by name, else by order and shape.

Shapes are compared layer by layer (the tensors of one module), with the names of the tensors inside
the layer, so that a convolution never matches a batch norm and a mean never matches a variance.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

TensorShapes = Mapping[str, tuple[int, ...]]
LayerShapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes of one module's tensors, sorted by name."""
COUNTER = "num_batches_tracked"
"""A batch norm's counter; older files lack it."""
_RESNET18 = (
    (r"^conv1\.", "stem.0."),
    (r"^bn1\.", "stem.1."),
    *((rf"^layer{i // 2 + 1}\.{i % 2}\.", f"blocks.{i}.") for i in range(8)),
    (r"^(blocks\.\d\.)downsample\.", r"\1shortcut."),
    (r"^(fc|linear)\.", "classify."),
)
RENAMES: dict[str, tuple[tuple[str, str], ...]] = {
    "resnet18": _RESNET18,
    "resnet18-imagenet": _RESNET18,
    "vgg16": ((r"^classifier\.(\d+\.)?", "classify."),),
}
"""Common names of the networks' layers in other programs: patterns and replacements."""


class Match(NamedTuple):
    """Which tensor of the file goes where.

    names: name in the network to name in the file.
    how: ``name``, ``usual names`` (after renaming), or ``order and shape``.
    """

    names: dict[str, str]
    how: str


class MismatchError(Exception):
    """Tensors do not fit the network; the text names the first one and their number."""


def match_weights(file_shapes: TensorShapes, net_shapes: TensorShapes, *, arch: str, ordered: bool) -> Match:
    """Find the tensor of the file for every tensor of the network.

    Args:
        file_shapes: names and shapes in the file.
        net_shapes: names and shapes in the network, in order.
        arch: architecture, for its usual names.
        ordered: whether ``given`` is in the order in which the layers were registered.

    Raises:
        MismatchError: a tensor is missing, superfluous or of another shape, or the order is unknown.
    """
    counted, counters = (
        [name for name in names if name.endswith(COUNTER)] for names in (net_shapes, file_shapes)
    )
    file_shapes = {name: shape for name, shape in file_shapes.items() if name not in counters}
    net_shapes = {name: shape for name, shape in net_shapes.items() if name not in counted}
    theirs, ours = _without_prefix(file_shapes), _without_prefix(net_shapes)
    namings = {"name": theirs, "usual names": _renamed(theirs, RENAMES.get(arch, ()))}
    how = max(namings, key=lambda key: len(namings[key].keys() & ours.keys()))
    named = {ours[short]: source for short, source in namings[how].items() if short in ours}
    if named.keys() != net_shapes.keys() or len(file_shapes) != len(net_shapes):
        try:
            named, how = _by_order(file_shapes, net_shapes, ordered=ordered), "order and shape"
        except MismatchError:
            if 2 * len(named) < len(net_shapes):
                raise
    _check_shapes(file_shapes, net_shapes, named)
    layers = {_owner(name): _owner(source) for name, source in named.items()}
    counts = {name: _joined(layers.get(_owner(name), ""), COUNTER) for name in counted}
    return Match(named | {name: source for name, source in counts.items() if source in counters}, how)


def _without_prefix(names: TensorShapes) -> dict[str, str]:
    """Map names without their common leading parts, such as ``module.``, to full names."""
    parts = [name.split(".") for name in names]
    shared = 0
    while parts and all(len(part) > shared + 1 and part[shared] == parts[0][shared] for part in parts):
        shared += 1
    return {".".join(part[shared:]): name for part, name in zip(parts, names, strict=True)}


def _renamed(names: Mapping[str, str], renames: Sequence[tuple[str, str]]) -> dict[str, str]:
    result = {}
    for short, full in names.items():
        for pattern, replacement in renames:
            short = re.sub(pattern, replacement, short)
        result[short] = full
    return result


def _check_shapes(file_shapes: TensorShapes, net_shapes: TensorShapes, named: Mapping[str, str]) -> None:
    """Check that every tensor of the network has one of its shape, and that none is left over."""
    problems = []
    for name, shape in net_shapes.items():
        if name not in named:
            problems.append(f"{name}: expected a tensor of shape {shape}, got none")
        elif file_shapes[named[name]] != shape:
            problems.append(f"{named[name]}: expected shape {shape}, got {file_shapes[named[name]]}")
    used = set(named.values())
    problems += [f"{name}: expected no such tensor, got one" for name in file_shapes if name not in used]
    if problems:
        raise MismatchError(_counted(problems[0], len(problems), len(net_shapes)))


def _by_order(file_shapes: TensorShapes, net_shapes: TensorShapes, *, ordered: bool) -> dict[str, str]:
    """Match each layer of the network with the file's next one of the same tensors and shapes."""
    theirs, ours = _layers(file_shapes), _layers(net_shapes)
    queues: dict[LayerShapes, list[str]] = {}
    for layer, tensors in theirs.items():
        queues.setdefault(tensors, []).append(layer)
    _check_layers(theirs, ours, total=len(net_shapes))
    if not ordered:
        for alike in queues.values():
            _sort_by_number(alike)
    pairs = {layer: queues[tensors].pop(0) for layer, tensors in ours.items()}
    for source, (layer, expected) in zip(theirs, pairs.items(), strict=True):
        if ordered and source != expected:
            raise MismatchError(
                f"{source}: expected {_describe(ours[layer])}, got {_describe(theirs[source])}"
            )
    _check_names(pairs, ours)
    return {
        _joined(layer, leaf): _joined(pairs[layer], leaf)
        for layer, tensors in ours.items()
        for leaf, _ in tensors
    }


def _layers(shapes: TensorShapes) -> dict[str, LayerShapes]:
    result: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for name, shape in shapes.items():
        result.setdefault(_owner(name), []).append((name.rpartition(".")[2], shape))
    return {layer: tuple(sorted(tensors)) for layer, tensors in result.items()}


def _check_layers(theirs: Mapping[str, LayerShapes], ours: Mapping[str, LayerShapes], *, total: int) -> None:
    """Check that both sides have as many layers of each kind."""
    lacking, over = _beyond(ours, theirs), _beyond(theirs, ours)
    if not lacking and not over:
        return
    got = f"{over[0]} with {_describe(theirs[over[0]])}" if over else "none"
    text = (
        f"{lacking[0]}: expected {_describe(ours[lacking[0]])}, got {got}"
        if lacking
        else f"expected no {got}"
    )
    unfit = max(sum(len(ours[layer]) for layer in lacking), sum(len(theirs[layer]) for layer in over))
    raise MismatchError(_counted(text, unfit, total))


def _beyond(some: Mapping[str, LayerShapes], others: Mapping[str, LayerShapes]) -> list[str]:
    """Those layers of ``some`` for which ``others`` have no counterpart."""
    remaining, result = Counter(others.values()), []
    for layer, tensors in some.items():
        remaining[tensors] -= 1
        if remaining[tensors] < 0:
            result.append(layer)
    return result


def _sort_by_number(alike: list[str]) -> None:
    """Sort layers of the same shapes by the numbers in their names, in place."""
    kinds = {re.sub(r"\d+", "#", layer): layer for layer in alike}
    if len(kinds) > 1:
        first, second, *_ = kinds.values()
        raise MismatchError(
            f"{first}, {second}: expected names or an order that tell these layers of equal shape apart,"
            " got sorted tensors"
        )
    alike.sort(key=lambda layer: [int(number) for number in re.findall(r"\d+", layer)])


def _check_names(pairs: Mapping[str, str], ours: Mapping[str, LayerShapes]) -> None:
    """Refuse an order that contradicts names common to both sides, unless these are numbers."""
    for layer, source in pairs.items():
        if source != layer and source in ours and not source.rpartition(".")[2].isdecimal():
            raise MismatchError(
                f"{source}: expected it at its place in the network, got it at that of {layer}"
            )


def _counted(text: str, unfit: int, total: int) -> str:
    return f"{text}; {unfit} of {total} tensors do not fit"


def _describe(tensors: LayerShapes) -> str:
    """A layer's weight, or its first tensor, in words."""
    leaves = dict(tensors)
    leaf = "weight" if "weight" in leaves else tensors[0][0]
    more = f" and {len(leaves) - 1} more" if len(leaves) > 1 else ""
    return f"{leaf} {leaves[leaf]}{more}"


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _joined(layer: str, leaf: str) -> str:
    return f"{layer}.{leaf}" if layer else leaf
