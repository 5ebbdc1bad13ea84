"""Download the official files of a public data set, or verify those that are there."""

import hashlib
import logging
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from eed_edge.atomic_files import write_atomic
from eed_edge.errors import DataError, DeviceError, RecipeError, StorageError, how_to_install
from eed_edge.train.data.official_files import OFFICIAL, OfficialDataset, is_official

DownloadProgress = Callable[[str, int, int], None]
"""Called with a file's name, the bytes received and the bytes expected (0 when unknown)."""
TIMEOUT = 30  # seconds without an answer
CHUNK = 1 << 20  # bytes at a time


def download_dataset(name: str, root: Path, *, progress: DownloadProgress | None = None) -> str:
    """Download the official files of ``name`` to ``root``, unless they are there and intact.

    Files with the right checksum are not fetched; missing and broken ones are. A file appears under
    its name only with the right checksum.

    Returns:
        One sentence on what was verified or fetched.

    Raises:
        DataError: no network, or the server sent another file.
        DeviceError: pooch is not installed.
        RecipeError: a set that has no official files.
        StorageError: the folder cannot be written.
    """
    if name == "digits":
        return "digits: they come with scikit-learn, there is nothing to fetch"
    if name not in OFFICIAL:
        raise RecipeError(f"expected a public data set ({', '.join(['digits', *OFFICIAL])}), got {name!r}")
    official = OFFICIAL[name]
    place = official.place(root)
    broken = [file for file, sha256 in official.files.items() if not is_official(place / file, sha256)]
    if not broken:
        return f"{name}: {len(official.files)} files in {place} verified, nothing to fetch"
    if official.archive:
        _download(official.url, root / official.archive, official.archive_sha256, progress)
        _unpack(root / official.archive, official, place, broken)
    else:
        for file in broken:
            _download(official.url, place / file, official.files[file], progress)
    return f"{name}: {len(broken)} of {len(official.files)} files fetched into {place}, checksums verified"


def _download(folder_url: str, path: Path, sha256: str, progress: DownloadProgress | None) -> None:
    """Fetch one file unless it is there with the right checksum."""
    try:
        import pooch
        import requests
    except ImportError as error:
        raise DeviceError(f"expected pooch, which downloads; {how_to_install('train')}") from error
    pooch.get_logger().setLevel(logging.WARNING)  # otherwise it writes to stderr
    bar = _Bar(path.name, progress) if progress else False
    downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK, timeout=TIMEOUT)
    url = folder_url + path.name
    try:
        pooch.retrieve(url, f"sha256:{sha256}", path.name, path.parent, downloader=downloader)
    except requests.RequestException as error:
        raise DataError(
            f"cannot fetch {url}: {_cause(error)};"
            f" check the network, or put the file into {path.parent} by hand"
        ) from error
    except ValueError as error:
        raise DataError(
            f"{url}: expected a file of SHA-256 {sha256[:12]}…, got another; try again later"
        ) from error
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or _cause(error)};"
            " free some space or choose another folder"
        ) from error


class _Bar:
    """Progress bar in the interface that pooch expects; pooch sets ``total``."""

    def __init__(self, file: str, progress: DownloadProgress) -> None:
        self.total = 0
        self._file = file
        self._progress = progress
        self._done = 0

    def update(self, count: int) -> None:
        """Count bytes; pooch counts whole chunks, the last one too."""
        self._done += count
        self._progress(self._file, min(self._done, self.total) if self.total else self._done, self.total)

    def reset(self) -> None:
        """Count from 0 again."""
        self._done = 0

    def close(self) -> None:
        """The file is complete."""


def _unpack(archive: Path, official: OfficialDataset, place: Path, names: Sequence[str]) -> None:
    """Extract files from the archive by name; paths inside it are never written to.

    The archive stays, so that a file that breaks later is restored without the network.
    """
    try:
        with tarfile.open(archive) as tar:
            for file in names:
                inside = f"{official.folder}/{file}"
                content = tar.extractfile(inside)
                data = content.read() if content is not None else b""
                if hashlib.sha256(data).hexdigest() != official.files[file]:
                    raise DataError(
                        f"{archive}: {inside} is not the official file; delete the archive and try again"
                    )
                write_atomic(place / file, data)
    except (tarfile.TarError, KeyError) as error:
        raise DataError(f"{archive}: cannot be unpacked: {error}; delete it and try again") from error


def _cause(error: BaseException) -> str:
    """The innermost reason in one line: requests wraps it several times."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return " ".join(str(error).split())
