"""The attacks on one network, each from images to images: PGD-20, AutoAttack, C&W and DeepFool.

Every attack takes a network that gives logits (or log-probabilities, never probabilities) and
returns images in [0, 1] inside the ball of its threat model. An image that it could not change
into a misclassified one may come back as it was.
"""

import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eed_edge.attacks import l_inf
from eed_edge.errors import DeviceError

AUTOATTACK_STEPS = 100
PGD_STEPS = 20
CW_STEPS = 100
DEEPFOOL_STEPS = 50
SHORT_STEPS = 10
"""APGD iterations of the quick suite."""
Attack = Callable[[nn.Module, Tensor, Tensor, "Threat"], Tensor]
"""``attack(net, images, labels, threat)``: attacked images."""


@dataclass(frozen=True)
class Threat:
    """What an attacker may do.

    eps: radius of the l_inf ball in units of the [0, 1] range.
    seed: of everything random in the attack.
    """

    eps: float
    seed: int

    def radius_l2(self, images: Tensor) -> float:
        """Radius of the l_2 ball: 0.5 at 8/255 on 3×32×32 images, the usual one there.

        It grows with eps and with the root of the number of values, as the l_inf ball's corner does.
        """
        return 0.5 * (self.eps / (8 / 255)) * math.sqrt(images[0].numel() / 3072)


def pgd20(net: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """PGD on the cross-entropy: 20 steps of a quarter of eps (2/255 at 8/255), one random start."""
    return _pgd(net, images, labels, threat, step=threat.eps / 4, steps=PGD_STEPS)


def cw(net: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """C&W l_inf as this field reports it: the margin loss inside PGD, 100 steps of a tenth of eps.

    Source:
        Carlini and Wagner, 2017, for the loss; Madry et al., 2018, for its use inside PGD.
    """
    return _pgd(net, images, labels, threat, step=threat.eps / 10, steps=CW_STEPS, loss=l_inf.margin)


def _pgd(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    *,
    step: float,
    steps: int,
    loss: l_inf.Loss = l_inf.cross_entropy,
) -> Tensor:
    generator = torch.Generator(images.device).manual_seed(threat.seed)
    with l_inf.frozen(net):
        return l_inf.pgd(
            net, images, labels, eps=threat.eps, step=step, steps=steps, generator=generator, loss=loss
        )


def autoattack(net: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """AutoAttack, standard version: APGD-CE, APGD-T, FAB-T and Square, each on what the last left right.

    With fewer than 10 classes the targeted attacks aim at all the wrong ones; with fewer than 4
    they do not apply, and APGD-CE, untargeted FAB and Square run instead.

    Source:
        Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
        parameter-free attacks", ICML 2020; the authors' code as the package pyautoattack.
    """
    return _run_autoattack(net, images, labels, threat, names=(), steps=AUTOATTACK_STEPS)


def apgd(net: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """APGD on the cross-entropy and, with 4 classes or more, on the targeted DLR loss; 100 steps each."""
    return _run_autoattack(net, images, labels, threat, names=("apgd-ce", "apgd-t"), steps=AUTOATTACK_STEPS)


def short_apgd(net: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """APGD on the DLR loss, as PGD-20 has had the cross-entropy; with 2 classes on that one; 10 steps."""
    return _run_autoattack(net, images, labels, threat, names=("apgd-dlr",), steps=SHORT_STEPS)


def _run_autoattack(
    net: nn.Module, images: Tensor, labels: Tensor, threat: Threat, *, names: Sequence[str], steps: int
) -> Tensor:
    try:
        from pyautoattack import AutoAttack
    except ImportError as error:
        raise DeviceError(
            "AutoAttack needs pyautoattack, which is not installed; pip install 'eed-edge[attack]'"
        ) from error
    images = images.contiguous()  # AutoAttack takes views that channels-last images do not have
    with torch.random.fork_rng(devices=[]), l_inf.frozen(net), _trace_kept():
        with torch.no_grad():
            classes = net(images[:1]).shape[1]
        chosen = _applicable(names, classes)
        attack = AutoAttack(
            net,
            eps=threat.eps,
            norm="Linf",
            seed=threat.seed,
            device=images.device,
            **({"version": "custom", "attacks": chosen} if chosen else {"version": "standard"}),
        )
        attack.apgd.n_restarts = attack.fab.n_restarts = 1
        attack.apgd.n_iter = attack.apgd_targeted.n_iter = attack.fab.n_iter = steps
        attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(9, classes - 1)
        attacked: Tensor = attack.run_standard_evaluation(images, labels, batch_size=len(images))[0]
    return attacked.detach()


@contextmanager
def _trace_kept() -> Iterator[None]:
    """AutoAttack's check for dynamic defences takes the interpreter's trace function away; put it back."""
    trace = sys.gettrace()
    try:
        yield
    finally:
        sys.settrace(trace)


def _applicable(names: Sequence[str], classes: int) -> list[str]:
    """The attacks that work with so many classes; none stands for the standard version as it is.

    The targeted DLR loss needs 4 classes, the untargeted one 3.
    """
    if classes >= 4:
        return list(names)
    if not names:
        return ["apgd-ce", "fab", "square"]
    if classes == 3:
        return ["apgd-dlr" if name == "apgd-t" else name for name in names]
    return ["apgd-ce"]


def deepfool(net: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """DeepFool l_2, 50 steps, overshoot 0.02, held inside the ball of ``threat.radius_l2``.

    The paper names no l_2 radius; ours is the one that this field uses on CIFAR-10.

    Source:
        Moosavi-Dezfooli et al., CVPR 2016, as foolbox's L2DeepFoolAttack.
    """
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # foolbox imports GitPython, which wants git
    try:
        from foolbox.attacks.deepfool import L2DeepFoolAttack
        from foolbox.models.pytorch import PyTorchModel
    except ImportError as error:
        raise DeviceError(
            "DeepFool needs foolbox, which is not installed; pip install 'eed-edge[attack]'"
        ) from error
    images = images.contiguous()
    with l_inf.frozen(net):
        with torch.no_grad():
            classes = net(images[:1]).shape[1]
        model = PyTorchModel(net, bounds=(0, 1), device=images.device)
        attack = L2DeepFoolAttack(steps=DEEPFOOL_STEPS, candidates=min(10, classes))
        attacked: Tensor = attack(model, images, labels, epsilons=threat.radius_l2(images))[1]
    return attacked.detach()


SETTINGS = {
    "clean": "images as they are",
    "pgd20": "PGD, cross-entropy, 20 steps of eps/4, one random start",
    "apgd": f"APGD-DLR, {SHORT_STEPS} iterations: a quick look, not a claim",
    "autoattack": "AutoAttack standard (APGD-CE, APGD-T, FAB-T, Square 5000 queries), pyautoattack",
    "cw": f"C&W l_inf: margin loss inside PGD, {CW_STEPS} steps of eps/10, one random start",
    "deepfool": f"DeepFool l_2, {DEEPFOOL_STEPS} steps, radius 0.5 at eps 8/255 and 3x32x32, foolbox",
    "adaptive": "every l_inf item of the adaptive list, the clean image included",
}
"""A sentence for each attack of the report."""


@contextmanager
def capture_warnings() -> Iterator[list[str]]:
    """Collect what AutoAttack warns of while the block runs, each sentence once."""
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (text := record.getMessage()) not in heard:
                heard.append(text)

    log, listener = logging.getLogger("auto-attack"), Listener(logging.WARNING)
    propagated = log.propagate
    log.addHandler(listener)
    log.propagate = False
    try:
        yield heard
    finally:
        log.removeHandler(listener)
        log.propagate = propagated
