"""Sign a bundle with an elliptic-curve key: an OpenSSF model signature beside the folder."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eed_edge.atomic_files import write_atomic
from eed_edge.errors import DeviceError, InputError, how_to_install
from eed_edge.files.regular_files import open_regular
from eed_edge.runtime.bundle.folder import UNREAD_NAMES
from eed_edge.runtime.bundle.signature import signature_path


def bundle_signer(private_key: Path) -> Callable[[Path], Path]:
    """Return a function that signs a bundle folder and returns the path of the signature.

    Args:
        private_key: PEM file of an unencrypted key on the curve P-256, P-384 or P-521.

    Raises:
        InputError: the key cannot be used.
        DeviceError: model-signing is not installed.
    """
    try:
        from model_signing import hashing, signing
    except ImportError as error:
        raise DeviceError(f"expected model-signing, which signs bundles; {how_to_install('sign')}") from error
    digests = hashing.Config().use_file_serialization(hashing_algorithm="sha256")
    digests.set_ignored_paths(paths=UNREAD_NAMES, ignore_git_paths=False)
    try:
        open_regular(private_key).close()
        config: Any = signing.Config().use_elliptic_key_signer(private_key=private_key)
    except Exception as error:  # damaged keys make cryptography raise many types
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(
            f"{private_key}: expected a private key on P-256, P-384 or P-521 as PEM, got: {reason:.160};"
            " openssl ecparam -name prime256v1 -genkey -noout makes one"
        ) from error
    config.set_hashing_config(digests)

    def sign(folder: Path) -> Path:
        target = signature_path(folder)
        with tempfile.TemporaryDirectory() as place:
            config.sign(folder.absolute(), Path(place, "signature"))
            write_atomic(target, Path(place, "signature").read_bytes())
        return target

    return sign
