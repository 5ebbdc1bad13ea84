"""Benchmark a bundle against the networks it replaces, on real images, in blocks in one process."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eed_edge.arrays import Floats, Ints
from eed_edge.errors import BundleError, InputError
from eed_edge.images.npz import read_npz
from eed_edge.images.picture_folder import pictures_below
from eed_edge.images.preprocess import open_picture, prepare
from eed_edge.latency.predicted_times import from_metrics
from eed_edge.manifest import CASCADE_FILE, DENSE_FILE, DENSE_INT8_FILE, Manifest
from eed_edge.provenance import BASELINES, manifest_digest
from eed_edge.runtime.bundle.admit import admit
from eed_edge.runtime.bundle.folder import load_bundle, open_bundle, read_file
from eed_edge.runtime.bundle.golden_file import read_golden
from eed_edge.runtime.bundle.limits import DEFAULT_LIMITS
from eed_edge.runtime.bundle.single_file import SingleFileCascade, load_single_file
from eed_edge.runtime.engine.cascade import Cascade
from eed_edge.runtime.engine.session import (
    DEFAULT,
    Session,
    SessionConfig,
    check_signature,
    open_session,
)
from eed_edge.runtime.measure.clock import (
    ROUNDS,
    IndexedCall,
    Times,
    call_by_call,
    in_blocks,
    in_pairs,
    ratio,
    summary,
)
from eed_edge.runtime.measure.conditions import conditions_between, snapshot
from eed_edge.runtime.measure.device_costs import device_costs
from eed_edge.runtime.measure.prefixes import prefix_cascades, stops_in_shares

MOST_PICTURES = 1000  # as many as a run keeps for timing
TEST_FILE = "evaluation.npz"  # test images that eed-edge attack writes into the run folder


@dataclass(frozen=True)
class TimedImages:
    """Images to time with, ``(n, c, h, w)`` float32, and their source; golden images are only indicative."""

    images: Floats
    source: str
    indicative: bool


def real_images(folder: Path, *, npz: Path | None = None, run: Path | None = None) -> TimedImages:
    """Return the images of ``npz``, or else of the run, or else the bundle's golden images.

    Args:
        npz: an NPZ file, or a folder of pictures, of which at most ``MOST_PICTURES`` are read.

    Raises:
        BundleError: a bundle that ``read_golden`` rejects.
        InputError: an NPZ file or a picture that cannot be used, or none.
    """
    bundle = open_bundle(folder)
    path = npz or (run / TEST_FILE if run and (run / TEST_FILE).exists() else None)
    if path is None:
        images = read_golden(bundle).images
        return TimedImages(images, f"{len(images)} golden images", indicative=True)
    spec = bundle.manifest.input
    if path.is_dir():
        files = list(pictures_below(path))
        prepared = [open_picture(file, spec) for file in files[:: -(-len(files) // MOST_PICTURES) or 1]]
    else:
        prepared = [prepare(picture, spec) for picture in read_npz(path)[0]]
    if not prepared:
        raise InputError(f"{path}: expected at least one image, got none; add some")
    images = np.stack(prepared)
    return TimedImages(images, f"{len(images)} images of {path}", indicative=False)


def find_networks(folder: Path, run: Path | None) -> dict[str, Path]:
    """Return the ONNX files of dense and the baselines, where the bundle or the run has them."""
    places = [("dense", folder / DENSE_FILE), ("dense_int8", folder / DENSE_INT8_FILE)]
    if run is not None:
        run_files = [("dense", run / DENSE_FILE), ("dense_int8", run / DENSE_INT8_FILE)]
        places = [*run_files, *places, *((name, run / f"{name}.onnx") for name in BASELINES)]
    return {name: path for name, path in places if path.is_file()}


def measure_latency(
    folder: Path,
    images: Floats,
    *,
    networks: dict[str, Path],
    config: SessionConfig = DEFAULT,
    repeats: int = ROUNDS,
    batch: int = 1,
    stops: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, Any]:
    """Time a bundle, its prefixes, its sub-models and other networks, ``batch`` images per call.

    Args:
        images: ``(n, c, h, w)`` float32 in [0, 1]; a shorter last batch is dropped unless it is the only one.
        networks: further ONNX files, or folders of bundles, by name; speed-ups are measured against ``dense``
            and ``dense_int8``.
        repeats: rounds of the clock; each times every image once with each program.
        stops: by attack, the share of images that stop at each sub-model; used with one image per call.

    Returns:
        The fields ``latency`` and ``submodels_used.clean`` of the report; ``single_file`` is among the
        first where the bundle has one.

    Raises:
        BundleError: the bundle or a network cannot be used.
        InputError: images that do not fit, or ``repeats`` below 1.
    """
    dynamic = open_cascade(folder, config)
    parts = split_batches(images, batch)
    used = [dynamic(part).submodels_used for part in parts]
    manifest = dynamic.manifest
    calls = {key: _network(path, manifest, parts, config) for key, path in networks.items()}
    calls |= _bundle_calls(dynamic, parts, stops if stops and batch == 1 else {})
    if CASCADE_FILE in manifest.files:
        calls |= {"single_file": _predict(_single_file(folder, config), parts)}
    before = snapshot()
    times = in_blocks(calls, items=len(parts), rounds=repeats)
    bare, runs = _bare_runs(dynamic, parts, used)
    pair = in_pairs(calls["dynamic"], bare, items=len(parts), rounds=max(repeats, 3))
    conditions = conditions_between(before, snapshot())
    latency = {
        "bundle": manifest_digest(folder),
        **config.as_record(),
        "repeats": repeats,
        "batch": batch,
        "images": sum(map(len, parts)),
        **_percentiles(times, members=len(dynamic.submodels)),
        **(from_metrics(manifest.metrics, members=len(manifest.submodels)) if batch == 1 else {}),
        **_speedups(times),
        **_overhead(*pair, runs),
        **device_costs(folder, manifest, networks, config, times, batch=max(map(len, parts))),
        "conditions": conditions,
    }
    return {"latency": latency, "submodels_used": {"clean": float(np.concatenate(used).mean())}}


def measure_cold(
    folder: Path,
    images: Floats,
    *,
    networks: dict[str, Path],
    config: SessionConfig = DEFAULT,
    repeats: int = ROUNDS,
    batch: int = 1,
) -> dict[str, Any]:
    """Time a bundle and the networks that it replaces call by call, each with the caches of another program.

    Args:
        as for ``measure_latency``.

    Returns:
        ``{threads, spinning, arena, repeats, batch, images, conditions}``, and the summary of each program.
    """
    dynamic = open_cascade(folder, config)
    parts = split_batches(images, batch)
    calls = {key: _network(path, dynamic.manifest, parts, config) for key, path in networks.items()}
    calls |= {"static": _predict(prefix_cascades(dynamic)[-1], parts), "dynamic": _predict(dynamic, parts)}
    if CASCADE_FILE in dynamic.manifest.files:
        calls |= {"single_file": _predict(_single_file(folder, config), parts)}
    before = snapshot()
    times = call_by_call(calls, items=len(parts), rounds=repeats)
    return {
        **config.as_record(),
        "repeats": repeats,
        "batch": batch,
        "images": sum(map(len, parts)),
        **{name: summary(measured) for name, measured in times.items()},
        "conditions": conditions_between(before, snapshot()),
    }


def open_cascade(folder: Path, config: SessionConfig) -> Cascade:
    """Load a bundle without its deadline, which would make answers depend on machine noise."""
    return load_bundle(folder, deadline_ms=math.inf, config=config)


def split_batches(images: Floats, batch: int) -> list[Floats]:
    """Split images into batches; a shorter last one is dropped unless it is the only one."""
    return [images[i : i + batch] for i in range(0, max(1, len(images) - batch + 1), batch)]


def _bare_runs(dynamic: Cascade, parts: list[Floats], used: list[Ints]) -> tuple[IndexedCall, int]:
    """Return a call that only makes the ``InferenceSession.run`` calls of ``dynamic``, and their number."""
    undecided = [
        [part[ran > t] for t in range(ran.max())] for part, ran in zip(parts, used, strict=True)
    ]  # the undecided images of each sub-model
    name = dynamic.manifest.input.name

    def bare(i: int) -> None:
        for (session, output), part in zip(dynamic.submodels, undecided[i], strict=False):
            session.run([output], {name: part})

    return bare, sum(map(len, undecided))


def _bundle_calls(
    dynamic: Cascade, parts: list[Floats], stops: Mapping[str, Sequence[float]]
) -> dict[str, IndexedCall]:
    """Return a call of the deployed rule, of each prefix, of each sub-model, and of the stops of each attack.

    ``static`` is the last prefix. A call of an attack runs each image up to a stop, and the stops have the
    shares that they have under the attack: how long an image takes depends on its stop alone.
    """
    prefixes = [_predict(prefix, parts) for prefix in prefix_cascades(dynamic)]
    calls = {"static": prefixes[-1], "dynamic": _predict(dynamic, parts)}
    calls |= {f"prefix-{t}": call for t, call in enumerate(prefixes[:-1], 1)}
    for t, (session, output) in enumerate(dynamic.submodels, 1):
        calls[f"submodel-{t}"] = _call(session, output, dynamic.manifest.input.name, parts)
    for attack, shares in stops.items():
        calls[attack] = _stopping(prefixes, stops_in_shares(shares, len(parts)))
    return calls


def _stopping(prefixes: list[IndexedCall], stops: Ints) -> IndexedCall:
    """Return a call that runs item i up to ``stops[i]``."""
    stopped = [prefixes[stop - 1] for stop in stops]
    return lambda i: stopped[i](i)


def _single_file(folder: Path, config: SessionConfig) -> SingleFileCascade:
    return load_single_file(folder / CASCADE_FILE, config=config)


def _network(path: Path, manifest: Manifest, parts: list[Floats], config: SessionConfig) -> IndexedCall:
    """Open an ONNX file, or a bundle, with the input and classes of the bundle; return a call of it."""
    if path.is_dir():
        other = open_cascade(path, config)
        if (other.manifest.input, other.manifest.classes) != (manifest.input, manifest.classes):
            raise BundleError(f"{path}: expected a bundle of the same images and classes; name another")
        return _predict(other, parts)
    model = admit(read_file(path, DEFAULT_LIMITS.model_bytes), path.name)
    session = open_session(model, path.name, config=config)
    output = check_signature(session, path.name, manifest)
    return _call(session, output, manifest.input.name, parts)


def _call(session: Session, output: str, name: str, parts: list[Floats]) -> IndexedCall:
    return lambda i: session.run([output], {name: parts[i]})


def _predict(net: Cascade | SingleFileCascade, parts: list[Floats]) -> IndexedCall:
    return lambda i: net(parts[i])


def _percentiles(times: dict[str, Times], *, members: int) -> dict[str, Any]:
    """Return the summaries of all programs; those of ``prefixes`` and ``submodels`` are lists."""
    figures = {name: summary(measured) for name, measured in times.items()}
    prefixes = [figures.pop(f"prefix-{t}") for t in range(1, members)]
    submodels = [figures.pop(f"submodel-{t}") for t in range(1, members + 1)]
    return {**figures, "prefixes": [*prefixes, figures["static"]], "submodels": submodels}


def _speedups(times: dict[str, Times]) -> dict[str, Any]:
    """Return the speed-ups over dense in both precisions, and ratios of other times to ``dynamic``."""
    figures: dict[str, Any] = {}
    for dense, ending in (("dense", ""), ("dense_int8", "_int8")):
        if dense in times:
            of = [name for name in times if not name.startswith(("dense", "prefix-", "submodel-"))]
            over_dense = {name: ratio(times[dense], times[name]) for name in of}
            figures[f"speedup_mean{ending}"] = over_dense["dynamic"].median
            figures[f"speedup_worst{ending}"] = over_dense["static"].median
            figures[f"speedups{ending}"] = {name: asdict(speedup) for name, speedup in over_dense.items()}
    for name in (*BASELINES, "other_bundle"):
        if name in times:
            figures[f"{name}_over_dynamic"] = asdict(ratio(times[name], times["dynamic"]))
    return figures


def _overhead(dynamic: Times, bare: Times, submodels_run: int) -> dict[str, float]:
    """Return the overhead of calls over their ``submodels_run`` bare ``InferenceSession.run`` calls."""
    call, runs = (float(np.median(times, axis=0).sum()) for times in (dynamic, bare))
    return {
        "overhead_ratio": call / runs,
        "overhead_us_per_submodel": (call - runs) / submodels_run * 1000,
    }
