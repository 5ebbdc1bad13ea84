"""AutoAttack and APGD alone, both by the authors' code in the package pyautoattack."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from eed_edge.attacks.interface import Attack, Threat
from eed_edge.errors import DeviceError, how_to_install


@dataclass(frozen=True)
class AutoAttack(Attack):
    """AutoAttack, standard: APGD-CE, APGD-T, FAB-T and Square, each on images that withstood the one before.

    With fewer than 10 classes the targeted attacks aim at every wrong class; with fewer than 4 they do not
    apply, and APGD-CE, untargeted FAB and Square run instead.

    steps: iterations of APGD and FAB.
    queries: queries that Square may make for one image.

    Source:
        Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
        parameter-free attacks", ICML 2020.
    """

    per_image: ClassVar[bool] = False
    steps: int = 100
    queries: int = 5000

    @property
    def description(self) -> str:
        """One line on the settings."""
        return "AutoAttack standard (APGD-CE, APGD-T, FAB-T, Square 5000 queries), pyautoattack"

    def _components(self, classes: int) -> list[str]:
        """The attacks that run; an empty list means the standard version."""
        return [] if classes >= 4 else ["apgd-ce", "fab", "square"]

    def run(self, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
        """Run pyautoattack; the state of the global random generators is restored.

        Raises:
            DeviceError: pyautoattack is not installed.
        """
        try:
            from pyautoattack import AutoAttack as Reference
        except ImportError as error:
            raise DeviceError(
                f"AutoAttack needs pyautoattack, which is not installed; {how_to_install('attack')}"
            ) from error
        images = images.contiguous()  # AutoAttack takes views that channels-last images do not have
        with torch.random.fork_rng(devices=[]), _restored_trace():
            with torch.no_grad():
                classes = model(images[:1]).shape[1]
            components = self._components(classes)
            attack = Reference(
                model,
                eps=threat.eps,
                norm="Linf",
                seed=threat.seed,
                device=images.device,
                **({"version": "custom", "attacks": components} if components else {"version": "standard"}),
            )
            attack.apgd.n_restarts = attack.fab.n_restarts = 1
            attack.apgd.n_iter = attack.apgd_targeted.n_iter = attack.fab.n_iter = self.steps
            attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(9, classes - 1)
            attack.square.n_queries = self.queries
            attacked: Tensor = attack.run_standard_evaluation(images, labels, batch_size=len(images))[0]
        return attacked


@dataclass(frozen=True)
class APGD(AutoAttack):
    """APGD on the cross-entropy and, with 4 classes or more, on the targeted DLR loss."""

    @property
    def description(self) -> str:
        """One line on the settings."""
        return f"APGD-CE and APGD-T, {self.steps} iterations"

    def _components(self, classes: int) -> list[str]:
        if classes >= 4:
            return ["apgd-ce", "apgd-t"]
        return ["apgd-ce", "apgd-dlr"] if classes == 3 else ["apgd-ce"]


@dataclass(frozen=True)
class ShortAPGD(AutoAttack):
    """APGD on the DLR loss, which complements the cross-entropy of PGD; with 2 classes on the latter."""

    steps: int = 10

    @property
    def description(self) -> str:
        """One line on the settings."""
        return f"APGD-DLR, {self.steps} iterations: a quick look, not a claim"

    def _components(self, classes: int) -> list[str]:
        return ["apgd-dlr"] if classes >= 3 else ["apgd-ce"]


@contextmanager
def _restored_trace() -> Iterator[None]:
    """Restore the interpreter's trace function, which AutoAttack's check for dynamic defences removes."""
    trace = sys.gettrace()
    try:
        yield
    finally:
        sys.settrace(trace)


@contextmanager
def capture_warnings() -> Iterator[list[str]]:
    """Collect AutoAttack's warnings while the block runs, each text once."""
    texts: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (text := record.getMessage()) not in texts:
                texts.append(text)

    log, listener = logging.getLogger("auto-attack"), Listener(logging.WARNING)
    propagated = log.propagate
    log.addHandler(listener)
    log.propagate = False
    try:
        yield texts
    finally:
        log.removeHandler(listener)
        log.propagate = propagated
