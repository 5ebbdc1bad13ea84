"""The latency of a bundle beside the networks it replaces, on real images, interleaved in one process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eed_edge.errors import BundleError, InputError
from eed_edge.manifest import DENSE_FILE, InputSpec
from eed_edge.runtime import onnx_wire
from eed_edge.runtime.bundle import load, open_bundle
from eed_edge.runtime.cascade import Cascade
from eed_edge.runtime.golden import golden
from eed_edge.runtime.npz import read_npz
from eed_edge.runtime.preprocess import prepare
from eed_edge.runtime.session import Session, check_signature, open_session
from eed_edge.runtime.timing import Times, fresh_start, interleaved, summary
from eed_edge.runtime.walk import Floats

TEST_FILE = "evaluation.npz"  # test images that attack leaves in the run folder
NARROW_FILE = "narrow.onnx"

Call = Callable[[int], object]


@dataclass(frozen=True)
class Images:
    """Images to time with, ``(n, c, h, w)`` float32, and where they come from."""

    images: Floats
    source: str
    indicative: bool


def real_images(folder: Path, *, npz: Path | None = None, run: Path | None = None) -> Images:
    """The images of ``npz``, failing that of the run, failing that the bundle's golden ones.

    Raises:
        BundleError: a bundle that ``golden`` refuses.
        InputError: an NPZ file that cannot be used or has no images.
    """
    bundle = open_bundle(folder)
    path = npz or (run / TEST_FILE if run and (run / TEST_FILE).exists() else None)
    if path is None:
        images = golden(bundle).images
        return Images(images, f"{len(images)} golden images", indicative=True)
    pictures, _ = read_npz(path)
    if not len(pictures):
        raise InputError(f"{path}: expected at least one image, got none; write it again")
    spec = bundle.manifest.input
    images = np.stack([prepare(picture, spec) for picture in pictures])
    return Images(images, f"{len(images)} images of {path}", indicative=False)


def find_networks(folder: Path, run: Path | None) -> dict[str, Path]:
    """``dense`` and ``narrow`` where the bundle or the run has them, to be timed beside the bundle."""
    places = [("dense", folder / DENSE_FILE)]
    if run is not None:
        places = [("dense", run / DENSE_FILE), *places, ("narrow", run / NARROW_FILE)]
    return {name: path for name, path in places if path.is_file()}


def measure(
    folder: Path,
    images: Floats,
    *,
    networks: dict[str, Path],
    threads: int = 1,
    repeats: int = 3,
    batch: int = 1,
) -> dict[str, Any]:
    """Time everything, ``batch`` images a call.

    Args:
        images: ``(n, c, h, w)`` float32 in [0, 1]; a last short batch is left out unless it is alone.
        networks: further ONNX files by name; ``dense`` is what speed-ups are measured against.

    Returns:
        The fields ``latency`` and ``submodels_used.clean`` of the report.

    Raises:
        BundleError: the bundle or a network cannot be used.
        InputError: images that do not fit, or ``repeats`` below 1.
    """
    dynamic = load(folder, deadline_ms=float("inf"), threads=threads)
    static = _never_stopping(dynamic)
    parts = [images[i : i + batch] for i in range(0, max(1, len(images) - batch + 1), batch)]
    used = [dynamic(part).submodels_used for part in parts]
    left = [
        [part[ran > t] for t in range(ran.max())] for part, ran in zip(parts, used, strict=True)
    ]  # what each sub-model is still asked
    name = dynamic.manifest.input.name

    def bare(i: int) -> None:
        for (session, output), undecided in zip(dynamic.submodels, left[i], strict=False):
            session.run([output], {name: undecided})

    calls = {
        **{key: _network(path, dynamic.manifest.input, parts, threads) for key, path in networks.items()},
        "static": lambda i: static(parts[i]),
        "dynamic": lambda i: dynamic(parts[i]),
        **{f"submodel-{t}": _call(*submodel, name, parts) for t, submodel in enumerate(dynamic.submodels)},
    }
    times = interleaved(calls, items=len(parts), repeats=repeats)
    # By themselves: after a large network everything is cold, and this is about the cost of a call.
    pair = interleaved({"dynamic": calls["dynamic"], "bare": bare}, items=len(parts), repeats=max(repeats, 3))
    latency = {
        "threads": threads,
        "repeats": repeats,
        "batch": batch,
        "images": sum(map(len, parts)),
        **_percentiles(times),
        **_overhead(pair["dynamic"], pair["bare"], sum(map(len, left))),
    }
    latency.update(_fresh(folder, networks, threads))
    return {"latency": latency, "submodels_used": {"clean": float(np.concatenate(used).mean())}}


def _never_stopping(cascade: Cascade) -> Cascade:
    """The mean of all sub-models, over the same sessions."""
    members = len(cascade.submodels)
    never = {"threshold": 2.0}
    return Cascade(
        cascade.manifest, cascade.submodels, rule="confidence", parameters=never, max_submodels=members
    )


def _network(path: Path, spec: InputSpec, parts: list[Floats], threads: int) -> Call:
    """A call of one ONNX file that takes the same input as the bundle."""
    try:
        model = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}; make it again") from error
    onnx_wire.inspect(model, path.name)
    session = open_session(model, path.name, threads=threads)
    output = check_signature(session, path.name, spec.name, spec.size)
    return _call(session, output, spec.name, parts)


def _call(session: Session, output: str, name: str, parts: list[Floats]) -> Call:
    return lambda i: session.run([output], {name: parts[i]})


def _percentiles(times: dict[str, Times]) -> dict[str, Any]:
    """Percentiles of everything, and how much faster than ``dense`` the bundle is."""
    figures: dict[str, Any] = {
        name: summary(found) for name, found in times.items() if not name.startswith("submodel-")
    }
    figures["submodels"] = [summary(found) for name, found in times.items() if name.startswith("submodel-")]
    if "dense" in figures:
        figures["speedup_mean"] = figures["dense"]["mean_ms"] / figures["dynamic"]["mean_ms"]
        figures["speedup_worst"] = figures["dense"]["p50_ms"] / figures["static"]["p50_ms"]
    return figures


def _overhead(dynamic: Times, bare: Times, submodels_run: int) -> dict[str, float]:
    """What a call costs over its ``InferenceSession.run`` calls; ``submodels_run`` in all, once each."""
    call, runs = (float(np.median(times, axis=0).sum()) for times in (dynamic, bare))
    return {
        "overhead_ratio": call / runs,
        "overhead_us_per_submodel": (call - runs) / submodels_run * 1000,
    }


def _fresh(folder: Path, networks: dict[str, Path], threads: int) -> dict[str, dict[str, float]]:
    """``{load_ms, first_ms, peak_rss_mib}``, each by name, measured in new processes."""
    found = {
        name: fresh_start(path, threads=threads) for name, path in {**networks, "ensemble": folder}.items()
    }
    return {key: {name: costs[key] for name, costs in found.items()} for key in found["ensemble"]}
