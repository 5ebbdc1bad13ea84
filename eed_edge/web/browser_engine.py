"""The files of onnxruntime-web, which run networks in a browser: their version, digests and place."""

import gzip
import hashlib
import zlib
from pathlib import Path

from eed_edge.errors import DeviceError

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
FOLDER = Path(__file__).parent / "vendor"
"""The files as ``NAME.gz``, a quarter in size, and their licences, where ``make web-files`` puts them."""
SHA256 = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
LICENCES = ("LICENSE", "ThirdPartyNotices.txt")
# On the page: not every host knows that .mjs is JavaScript.
PAGE_NAMES = {
    "ort.wasm.min.mjs": "ort.js",
    "ort-wasm-simd-threaded.mjs": "ort-wasm.js",
    "ort-wasm-simd-threaded.wasm": "ort-wasm.wasm",
    "LICENSE": "onnxruntime-LICENSE.txt",
    "ThirdPartyNotices.txt": "onnxruntime-ThirdPartyNotices.txt",
}


def read_engine(folder: Path = FOLDER) -> dict[str, bytes]:
    """Return the files by their names on the page, unpacked, each compared with its digest.

    Raises:
        DeviceError: one is missing, or is not the one of ``VERSION``.
    """
    remedy = "run make web-files in a clone of eed-edge (it needs npm), or install a released wheel"
    try:
        files = {name: gzip.decompress((folder / f"{name}.gz").read_bytes()) for name in SHA256}
        files |= {name: (folder / name).read_bytes() for name in LICENCES}
    except FileNotFoundError as error:
        raise DeviceError(f"expected {PACKAGE} {VERSION} in {folder}, it is not there; {remedy}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DeviceError(f"expected {PACKAGE} {VERSION} in {folder}, got: {error}; {remedy}") from error
    for name, expected in SHA256.items():
        if (actual := hashlib.sha256(files[name]).hexdigest()) != expected:
            raise DeviceError(
                f"{folder / name}: expected SHA-256 {expected[:16]}… of {PACKAGE} {VERSION},"
                f" got {actual[:16]}…; {remedy}"
            )
    return {PAGE_NAMES[name]: data for name, data in files.items()}
