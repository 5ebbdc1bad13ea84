"""The ``repr`` of a loaded bundle, in one line."""

from collections.abc import Mapping
from typing import Any

from eed_edge.manifest import Manifest
from eed_edge.printable import printable

SHOWN_CLASSES = 10


def bundle_summary(
    kind: str, manifest: Manifest, *, rule: str, parameters: Mapping[str, Any], max_submodels: int
) -> str:
    """Describe classes, input, sub-models and rule of a loaded bundle.

    Args:
        kind: the class whose ``repr`` it is.
        max_submodels: at most this many run for an image.
    """
    classes = [printable(name)[:20] for name in manifest.classes]
    shown = ", ".join(classes[:SHOWN_CLASSES]) + (", …" if len(classes) > SHOWN_CLASSES else "")
    size, count = ", ".join(map(str, manifest.input.size)), len(manifest.submodels)
    few = "" if max_submodels >= count else f", at most {max_submodels} of them"
    values = ", ".join(f"{name} {_short(value)}" for name, value in parameters.items())
    return (
        f"<{kind} {printable(manifest.name)!r}: {len(classes)} classes ({shown}); images (n, {size})"
        f" in [0, 1], {manifest.input.channels}; {count} {manifest.precision} sub-models{few};"
        f" rule {rule} ({values})>"
    )


def _short(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_short, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
