"""Official files of the public data sets: URLs, sizes and checksums."""

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path

from eed_edge.errors import DataError
from eed_edge.files.regular_files import open_regular, read_regular
from eed_edge.printable import to_copy

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OfficialDataset:
    """The files of one public data set.

    folder: their folder under the user's root; the root itself is accepted, too.
    files: SHA-256 of each file by name.
    sizes: bytes of each file, of sets whose files of other sizes may be a user's images.
    archive: name of one tar archive that holds them all; empty when each is fetched by itself.
    archive_sha256: of that archive.
    url: folder on the web that has the archive, or else the files.
    """

    folder: str
    files: dict[str, str]
    archive: str
    archive_sha256: str
    url: str
    sizes: dict[str, int] = field(default_factory=dict)

    def place(self, root: Path) -> Path:
        """The folder under ``root`` that has the files, or should have them."""
        return root if any((root / name).is_file() for name in self.files) else root / self.folder


OFFICIAL = {
    "cifar10": OfficialDataset(
        folder="cifar-10-batches-bin",
        files={
            "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        },
        archive="cifar-10-binary.tar.gz",
        archive_sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        url="https://www.cs.toronto.edu/~kriz/",
    ),
    "svhn": OfficialDataset(
        folder="",
        files={
            "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        },
        archive="",
        archive_sha256="",
        url="http://ufldl.stanford.edu/housenumbers/",
        sizes={"train_32x32.mat": 182_040_794, "test_32x32.mat": 64_275_384},
    ),
}


def is_official(path: Path, sha256: str) -> bool:
    """Whether the file exists and has the official checksum.

    Raises:
        DataError: it exists and cannot be read.
    """
    try:
        with open_regular(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check its permissions") from error


def read_official_file(name: str, root: Path, file: str, *, allow_unofficial: bool = False) -> bytes:
    """Read one official file of the data set ``name``.

    Args:
        allow_unofficial: also accept a user's file of the same format, with a warning; the caller
            checks its content. A file of the official size must be the official one.

    Raises:
        DataError: it is missing, cannot be read, or is not the official one.
    """
    official = OFFICIAL[name]
    path = official.place(root) / file
    advice = f"run: {to_copy('data', name, '--root', root)}"
    try:
        content = read_regular(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; {advice}") from error
    if (digest := hashlib.sha256(content).hexdigest()) != official.files[file]:
        if allow_unofficial and len(content) != official.sizes[file]:
            log.warning("%s is not the official file; used as your images", path)
            return content
        raise DataError(
            f"{path}: expected the official file (SHA-256 {official.files[file][:12]}…),"
            f" got {len(content):,} bytes of {digest[:12]}…, truncated or changed; {advice}"
        )
    return content
