"""Load a bundle folder or a single file by its path."""

import os
from collections.abc import Sequence

from eed_edge import arguments
from eed_edge.errors import InputError
from eed_edge.runtime.bundle import folder, golden_answers
from eed_edge.runtime.bundle.hub import local_path
from eed_edge.runtime.bundle.limits import DEFAULT_LIMITS, Limits
from eed_edge.runtime.bundle.single_file import SingleFileCascade, load_single_file
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.engine.session import CPU, SessionConfig


def load(
    path: str | os.PathLike[str],
    *,
    rule: str | None = None,
    threshold: float | None = None,
    max_submodels: int | None = None,
    deadline_ms: float | None = None,
    threads: int = 1,
    spinning: bool = False,
    arena: bool = True,
    providers: Sequence[str] = CPU,
    verify: str = "files",
    limits: Limits = DEFAULT_LIMITS,
    trusted_key: str | os.PathLike[str] | None = None,
) -> Cascade | SingleFileCascade:
    """Verify and load a bundle folder or a ``cascade.onnx``.

    Args:
        path: the folder or the file, or ``hf:OWNER/NAME@REVISION`` for a bundle on a model hub.
        rule: ``confidence``, ``agreement`` or ``geometric``; None: the manifest's.
        threshold: a confidence threshold, or a number of votes; None: the calibrated one.
        max_submodels: at most this many run for an image; None: the manifest's cap.
        deadline_ms: time for one call, ``math.inf`` for no deadline; None: the manifest's. A single file
            cannot keep a deadline; one in its manifest is logged as a warning.
        threads: threads per call.
        spinning: let idle threads spin: lower latency on an idle machine, far higher beside other sessions.
        arena: keep memory for the next call: faster, but the process holds more.
        providers: onnxruntime execution providers, the preferred one first.
        verify: ``files``, or ``golden`` to compare the golden answers of every model of the bundle too,
            as ``eed-edge check`` does.
        limits: most that the file may ask of the device, ``eed_edge.Limits()`` with the values to raise.
        trusted_key: PEM file of the public key that must have signed the folder (``BUNDLE.sig`` beside it).

    Raises:
        BundleError: damaged, incomplete, of a newer schema, beyond ``limits``, not usable by onnxruntime,
            or with another golden answer.
        InputError: an argument of another type or out of range, or one that is fixed inside a single
            file.
        DeviceError: onnxruntime is missing or too old, or a provider is not available.
    """
    config = SessionConfig(threads, spinning, arena, providers)
    _check_checks(verify, limits)
    path = local_path(path, limits=limits)
    if not arguments.to_path(path).is_file():
        cascade = folder.load_bundle(
            path,
            rule=rule,
            threshold=threshold,
            max_submodels=max_submodels,
            deadline_ms=deadline_ms,
            config=config,
            limits=limits,
            trusted_key=trusted_key,
        )
        if verify == "golden":
            golden_answers.check_answers(folder.open_bundle(path, limits=limits), cascade, limits=limits)
        return cascade
    if verify != "files":
        raise InputError("expected a bundle folder for verify='golden', got a single file; load its folder")
    if trusted_key is not None:
        raise InputError("expected no trusted_key for a single file, which has no signature; load the folder")
    fixed_arguments = {"rule": rule, "threshold": threshold, "max_submodels": max_submodels}
    if fixed := [name for name, value in fixed_arguments.items() if value is not None]:
        raise InputError(f"{fixed[0]} is fixed inside a single file; load the bundle folder to change it")
    if arguments.deadline(deadline_ms) is not None:
        raise InputError(
            f"expected no deadline_ms for a single file, whose graph has no clock, got {deadline_ms};"
            " load the bundle folder to keep one"
        )
    return load_single_file(path, config=config, limits=limits)


def _check_checks(verify: str, limits: Limits) -> None:
    if verify not in ("files", "golden"):
        raise InputError(
            f"expected verify 'files' or 'golden', got {arguments.short_repr(verify)}; give one of these"
        )
    if not isinstance(limits, Limits):
        raise InputError(f"expected limits, got {arguments.short_repr(limits)}; give eed_edge.Limits(...)")
