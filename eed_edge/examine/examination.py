"""Examination of one network: every check in the order of its cost, and what a report needs of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from eed_edge.errors import EedError, NetworkError
from eed_edge.examine.answers import answer_faults
from eed_edge.examine.copies import copy_faults, reload_faults, shared_notes
from eed_edge.examine.onnx_answers import onnx_faults
from eed_edge.examine.training_steps import training_faults
from eed_edge.examine.training_time import team_size
from eed_edge.prune.channels.layer_kinds import LAYERS
from eed_edge.prune.dry_run import DryRun, check_prunable
from eed_edge.recipe import Recipe
from eed_edge.train.data.batches import Images, as_float
from eed_edge.train.networks.build import ARCHITECTURES, Classifier, check_logits

IMAGES = 3


@dataclass(frozen=True)
class Examination:
    """The findings on a network.

    faults: why it cannot be trained, pruned or exported, a line each; empty if it can.
    notes: facts that are no faults, a line each.
    dry: its groups and a member, unless an earlier check failed.
    """

    faults: tuple[str, ...]
    notes: tuple[str, ...]
    dry: DryRun | None

    def raise_if_faulty(self) -> None:
        """Raise the first fault.

        Raises:
            NetworkError: there is one.
        """
        if self.faults:
            raise NetworkError(self.faults[0])


def examine(net: Classifier, few: Images, recipe: Recipe) -> Examination:
    """Examine a network before it is trained; the checks stop at the first fault, ``net`` stays as it is.

    Args:
        few: three images with their labels.
    """
    images, classes = as_float(few.images[:IMAGES]), net.architecture["classes"]
    faults = _faults_before_pruning(net, few, classes)
    if faults:
        return Examination(tuple(faults), (), None)
    notes = [*shared_notes(net), *_unused_notes(net, images)]
    try:
        dry = check_prunable(net, few, recipe)
    except NetworkError as error:
        return Examination((str(error),), tuple(notes), None)
    notes += [
        f"{', '.join(entry.layers)}: {entry.channels} channels stay; {entry.reason}"
        for entry in dry.structure.unpruned
    ]
    faults = (
        reload_faults(dry.member, images)
        or training_faults(net, dry, few, recipe)
        or onnx_faults(dry.member, images, team=team_size(recipe))
    )
    return Examination(tuple(faults), tuple(notes), dry)


def examine_before_training(net: Classifier, few: Images, recipe: Recipe) -> Examination:
    """Examine a network that is about to be trained.

    The architectures of this package are known to reload, train and export at every width; for them only
    pruning is tried.
    """
    if net.architecture["arch"] not in ARCHITECTURES:
        return examine(net, few, recipe)
    try:
        return Examination((), (), check_prunable(net, few, recipe))
    except NetworkError as error:
        return Examination((str(error),), (), None)


def _faults_before_pruning(net: Classifier, few: Images, classes: int) -> list[str]:
    images = as_float(few.images[:IMAGES])
    try:
        check_logits(net, images, classes)
    except EedError as error:
        return [str(error)]
    return copy_faults(net) or answer_faults(net, images, classes)


def _unused_notes(net: Classifier, images: torch.Tensor) -> Iterator[str]:
    """A line for each layer with weights that forward does not use."""
    called: set[nn.Module] = set()
    hooks = [
        module.register_forward_hook(lambda module, *_: called.add(module))
        for module in net.modules()
        if isinstance(module, LAYERS)
    ]
    with torch.no_grad():
        net.eval()(images)
    for hook in hooks:
        hook.remove()
    for name, module in net.named_modules():
        inside = name.rpartition(".")[0]
        attention = isinstance(net.get_submodule(inside), nn.MultiheadAttention)
        if isinstance(module, LAYERS) and module not in called and not attention:
            yield f"{name}: forward never uses it; its weights stay as they are"
