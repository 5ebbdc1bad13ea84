"""Which layer of a network fails: the innermost one whose forward was entered and not left."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

NETWORK_FORWARD = "the network's forward"


class Entered:
    """The layer whose forward raised: the innermost one that was entered and not left."""

    def __init__(self) -> None:
        self.stack: list[str] = []
        self.failed = ""

    def enter(self, name: str) -> None:
        """Record that a call begins; an outermost one clears an earlier failure, but for its layer."""
        if not name:
            self.failed = self.failed or (self.stack[-1] if self.stack else "")
            self.stack = []
        self.stack.append(name)

    def leave(self) -> None:
        """Record that a call ends."""
        if self.stack:
            self.stack.pop()

    @property
    def layer(self) -> str:
        """The name of that layer, or ``NETWORK_FORWARD``."""
        return self.failed or (self.stack[-1] if self.stack else "") or NETWORK_FORWARD


@contextmanager
def entered_layers(net: nn.Module) -> Iterator[Entered]:
    """Follow the calls inside the block."""
    entered = Entered()
    hooks = []
    for name, module in net.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: entered.enter(name)))
        hooks.append(module.register_forward_hook(lambda *_: entered.leave()))
    try:
        yield entered
    finally:
        for hook in hooks:
            hook.remove()
