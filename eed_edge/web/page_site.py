"""All files of the page: made in memory from a bundle, and written as one folder for any static host."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import eed_edge
from eed_edge.atomic_files import atomic_folder
from eed_edge.errors import InputError
from eed_edge.files.regular_files import read_regular
from eed_edge.manifest import DENSE_FILE, MANIFEST_FILE, Manifest
from eed_edge.provenance import check_exported_from, member_files
from eed_edge.runtime.bundle.admit import admit
from eed_edge.runtime.bundle.folder import Bundle, open_bundle
from eed_edge.web.page_samples import PageSamples, drawing_hint, read_samples

Site = dict[str, bytes]
PAGE_FILE = "page.json"
SAMPLES_FILE = "samples.bin"
PAGE_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".txt": "text/plain; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".bin": "application/octet-stream",
}
"""The kinds of files on the page, by their ending; no name comes from the bundle."""


def build_site(bundle: Path, run: Path | None, engine: Site) -> Site:
    """Return the files of the page by name.

    The models are verified and judged as for the device, and written anew from what was judged.

    Args:
        run: the run that the bundle was exported from, for test images, stored attacks and the dense network.
        engine: onnxruntime-web, as ``read_engine`` returns it.

    Raises:
        BundleError: the bundle or a model in it cannot be used.
        CheckpointError: the bundle was not exported from the run.
        InputError: the run's images cannot be used.
    """
    opened = open_bundle(bundle)
    manifest = opened.manifest
    if run is not None:
        check_exported_from(manifest, run, member_files(run))
    models = {
        f"submodel-{i}.onnx": admit(opened.read(entry.file), entry.file)
        for i, entry in enumerate(manifest.submodels)
    }
    dense = _dense(opened, run)
    samples = read_samples(opened, run)
    content = _content(manifest, samples, models, engine, dense)
    site = {file.name: file.read_bytes() for file in _page_files()} | engine | models
    site |= {SAMPLES_FILE: samples.raw(), MANIFEST_FILE: read_regular(bundle / MANIFEST_FILE)}
    if dense is not None:
        site[DENSE_FILE] = dense
    content["folder"] = sorted([*site, PAGE_FILE])
    return {**site, PAGE_FILE: json.dumps(content, indent=1).encode()}


def write_site(site: Site, folder: Path) -> None:
    """Write the page as a folder, whole or not at all; an older page there is replaced.

    Raises:
        InputError: the folder has other files.
        StorageError: the disk is full or the folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"expected a folder to write, {folder} is a file; name another")
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    others = there - _names_of_page(folder, site) if PAGE_FILE in there else there
    if others:
        raise InputError(
            f"expected a new folder or an older page, {folder} has other files, such as {min(others)}; name"
            " another"
        )
    with atomic_folder(folder) as target:
        for name, data in site.items():
            (target / name).write_bytes(data)


def _names_of_page(folder: Path, site: Site) -> set[str]:
    """The names of files that an older page in the folder may have."""
    try:
        listed = json.loads(read_regular(folder / PAGE_FILE))["folder"]
        stored = {name for name in listed if isinstance(name, str)}
    except (OSError, ValueError, RecursionError, LookupError, TypeError):  # older ones have no list
        stored = {path.name for path in folder.glob("submodel-*.onnx")}
    return {*site, *stored, DENSE_FILE}


def _page_files() -> list[Path]:
    """The page's own files, as they lie in the package."""
    files = [Path(str(each)) for each in resources.files("eed_edge.web").joinpath("page").iterdir()]
    return sorted(file for file in files if file.suffix in (".html", ".css", ".js"))


def _dense(bundle: Bundle, run: Path | None) -> bytes | None:
    """The unpruned network where the bundle or the run has it."""
    if DENSE_FILE in bundle.manifest.files:
        return admit(bundle.read(DENSE_FILE), DENSE_FILE)
    if run is None or not (run / DENSE_FILE).is_file():
        return None
    return admit(read_regular(run / DENSE_FILE), str(run / DENSE_FILE))


def _content(
    manifest: Manifest, samples: PageSamples, models: Site, engine: Site, dense: bytes | None
) -> dict[str, Any]:
    """Data for the page in addition to the manifest."""
    images = (
        ("Test images", "The first test images that one sub-model answers, two, and so on, in turn.")
        if samples.from_run
        else (
            "Golden images",
            "Images that the bundle has for its own check. It does not have their true classes.",
        )
    )
    return {
        "version": eed_edge.__version__,
        "open": {
            "engine": {"mjs": "ort-wasm.js", "wasm": "ort-wasm.wasm"},
            "files": list(models),
        },
        "bytes": len(engine["ort-wasm.wasm"]) + sum(map(len, models.values())),
        "samples": {
            "file": SAMPLES_FILE,
            "images": {"title": images[0], "hint": images[1], "labels": samples.labels},
            "attacked": {"labels": samples.attacked_labels},
        },
        "drawing": drawing_hint(manifest.input, manifest.classes, samples.images),
        "dense": None if dense is None else {"file": DENSE_FILE, "bytes": len(dense)},
    }
