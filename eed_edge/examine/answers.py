"""Checks of a network's answers: independent of the batch, repeatable, logits, trainable, differentiable."""

import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from eed_edge.examine.layer_calls import diverging_layer, recorded_calls
from eed_edge.prune.channels.equality import double_if_possible, with_random_weights
from eed_edge.train.networks.entered_layers import NETWORK_FORWARD, entered_layers

TOLERANCE = 1e-4
"""Largest difference between two runs, as a share of the largest logit."""
SEEDS = (1, 2, 3, 4)
MOST_RUNS = 50
"""Of a network that draws random numbers: layers that are dropped seldom show in one of them."""
SHAPE_ONLY = (
    "View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Select", "Clone", "ToCopy",
    "AsStrided", "Alias", "T", "Transpose",
)  # fmt: skip
BOUNDED = {"Softmax": "softmax", "Sigmoid": "sigmoid", "Tanh": "tanh", "Hardsigmoid": "hardsigmoid"}


def answer_faults(net: nn.Module, images: Tensor, classes: int) -> list[str]:
    """The first fault of the network's answers, in a line; random weights make every path count.

    Args:
        images: three images or more, ``(n, c, h, w)``; their number is what matters.
    """
    probe, images = double_if_possible(with_random_weights(net), images.cpu()[:3].contiguous())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for check in (_fails_alone, _random, _dependent, _bounded, _training, _without_gradient):
            for fault in check(probe.eval(), images, classes):
                return [fault]  # later checks would mean nothing
        return []


def _fails_alone(net: nn.Module, images: Tensor, classes: int) -> Iterator[str]:
    for count in (1, len(images)):
        many = f"{count} image{'s' if count > 1 else ''}"
        try:
            with torch.no_grad(), entered_layers(net) as entered:
                shape = tuple(net(images[:count]).shape)
        except Exception as error:
            yield (
                f"{entered.layer}: forward fails for {many}: {_line(error)};"
                " let it accept any number of images"
            )
            return
        if shape != (count, classes):
            yield (
                f"{NETWORK_FORWARD}: expected logits {(count, classes)} for {many}, got {shape};"
                " use flatten(1), or squeeze with the dimensions named"
            )
            return


def _random(net: nn.Module, images: Tensor, _: int) -> Iterator[str]:
    first, before = recorded_calls(net, images), _random_states()
    for _ in range(MOST_RUNS):
        again = recorded_calls(net, images)
        drawn = _random_states() != before
        if _far(again[-1].outputs[0], first[-1].outputs[0]):
            layer = diverging_layer(first, again, index=0, count=1)
            remedy = (
                "switch dropout and noise off there, as in torch.nn.functional.dropout(x, p, self.training)"
                if drawn
                else "let forward change no buffer and no attribute there unless self.training"
            )
            yield f"{layer}: two runs on the same images differ in evaluation mode; {remedy}"
            return
        if not drawn:  # without random numbers all runs are equal
            return


def _random_states() -> tuple[object, ...]:
    """States of the random generators of torch, Python and NumPy, which change with every number drawn."""
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())


def _dependent(net: nn.Module, images: Tensor, _: int) -> Iterator[str]:
    with torch.no_grad():
        together = net(images)
        alone = torch.cat([net(image[None]) for image in images])
    if not _far(together, alone):
        return
    index = int((together - alone).abs().amax(1).argmax())
    layer = diverging_layer(
        recorded_calls(net, images),
        recorded_calls(net, images[index : index + 1]),
        index=index,
        count=len(images),
    )
    module = net.get_submodule(layer) if layer != NETWORK_FORWARD else net
    remedy = "compute means, norms and reshapes over each image alone, never over dimension 0"
    if getattr(module, "track_running_stats", True) is False:
        remedy = f"build this {type(module).__name__} with track_running_stats=True"
    yield f"{layer}: the answer to an image depends on the other images of its batch; {remedy}"


def _bounded(net: nn.Module, images: Tensor, _: int) -> Iterator[str]:
    """Report probabilities in place of logits, recognised by their sum or by the last operation."""
    rows = [with_random_weights(net, seed).to(images.dtype)(images).detach() for seed in SEEDS]
    sums = torch.cat(rows).sum(1)
    kind = "softmax" if min(row.min() for row in rows) >= 0 and (sums - 1).abs().max() < 1e-3 else ""
    kind = kind or _last_operation(net(images))
    if kind:
        layer = _last_layer(net, images)
        yield (
            f"{layer}: the network ends in {kind}, its answers are no logits; remove the {kind}, training and"
            " the gate apply softmax themselves"
        )


def _training(net: nn.Module, images: Tensor, classes: int) -> Iterator[str]:
    try:
        with torch.no_grad(), entered_layers(net) as entered:
            logits = net.train()(images)
    except Exception as error:
        yield f"{entered.layer}: forward fails in training mode: {_line(error)}; let it accept these images"
        return
    finally:
        net.eval()
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (len(images), classes):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        yield (
            f"{NETWORK_FORWARD}: expected logits {(len(images), classes)} in training mode, too, got {got};"
            " return the logits alone and switch auxiliary heads off"
        )


def _without_gradient(net: nn.Module, images: Tensor, _: int) -> Iterator[str]:
    images = images.clone().requires_grad_(True)
    try:
        torch.autograd.backward(_weighted_sum(net(images)))
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            layer = _first_without_gradient(net, images)
            yield (
                f"{layer}: no gradient can be computed: {_line(error):.90}; make a new tensor"
                " instead of writing into one that is needed again, as with torch.where or clone()"
            )
            return
    finally:
        net.zero_grad()
    if images.grad is None or not images.grad.any():
        layer = _first_without_gradient(net, images)
        yield (
            f"{layer}: no gradient passes through it to the images, which attacks and layers in front of it"
            " need; use no no_grad, detach, round or NumPy there (requires_grad_(False) freezes weights)"
        )


def _first_without_gradient(net: nn.Module, images: Tensor) -> str:
    """The innermost layer that passes no gradient to its own inputs, or words for the network."""
    for call in recorded_calls(net, images):
        layer = net if call.layer == NETWORK_FORWARD else net.get_submodule(call.layer)
        inputs = [tensor.requires_grad_() for tensor in call.inputs]
        try:
            output = layer(*inputs)
        except Exception:  # a layer that takes more than tensors
            continue
        if not isinstance(output, Tensor) or not inputs:
            continue
        try:
            torch.autograd.backward(_weighted_sum(output))
        except RuntimeError:
            return call.layer
        if not any(tensor.grad is not None and tensor.grad.any() for tensor in inputs):
            return call.layer
    return NETWORK_FORWARD


def _weighted_sum(output: Tensor) -> Tensor:
    """A sum in which no two numbers count alike, since the plain one of centred numbers is constant."""
    weights = torch.linspace(1, 2, output.numel(), dtype=output.dtype)
    return (output * weights.view(output.shape)).sum()


def _last_operation(logits: Tensor) -> str:
    """The name of the last operation if it bounds the logits, else an empty text."""
    node = logits.grad_fn
    while node is not None:
        name = node.name().rpartition("::")[2].split("Backward")[0].lstrip("_")
        if name in BOUNDED:
            return BOUNDED[name]
        if name not in SHAPE_ONLY or not node.next_functions:
            return ""
        node = node.next_functions[0][0]
    return ""


def _last_layer(net: nn.Module, images: Tensor) -> str:
    """The innermost layer whose output is the network's, or words for the network."""
    last, returned = "", []

    def hook(name: str) -> object:
        return lambda _module, _inputs, output: returned.append((name, output))

    hooks = [module.register_forward_hook(hook(name)) for name, module in net.named_modules()]
    with torch.no_grad():
        logits = net(images)
    for handle in hooks:
        handle.remove()
    for name, output in returned:
        if output is logits and not last:
            last = name
    return last or NETWORK_FORWARD


def _far(one: Tensor, other: Tensor) -> bool:
    scale = max(float(other.abs().max()), 1e-12)
    return not bool((one - other).abs().max() <= TOLERANCE * scale)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
