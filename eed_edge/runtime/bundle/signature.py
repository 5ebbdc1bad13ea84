"""Verify a bundle's signature: the signed digests must be those of the files that are loaded."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eed_edge import arguments
from eed_edge.errors import BundleError, DeviceError, InputError, how_to_install
from eed_edge.files.regular_files import read_regular

_LARGEST_SIGNATURE = 2**20  # bytes
_LARGEST_KEY = 2**16  # bytes


def signature_path(folder: str | os.PathLike[str]) -> Path:
    """Where the signature of a bundle lies: beside the folder, ``BUNDLE.sig``."""
    path = Path(os.path.abspath(folder))
    return path.with_name(f"{path.name}.sig")


def check_digests(
    folder: str | os.PathLike[str], trusted_key: str | os.PathLike[str], digests: Mapping[str, str]
) -> None:
    """Refuse a bundle unless its signature is the key's and names exactly these files and digests.

    Args:
        trusted_key: PEM file of an elliptic-curve public key.
        digests: file name to SHA-256 in hexadecimal digits, the manifest included.

    Raises:
        BundleError: the signature is missing, damaged, of another key or of other files.
        InputError: the key cannot be used.
        DeviceError: model-signing is not installed.
    """
    key, path = arguments.to_path(trusted_key), signature_path(folder)
    verifier, read = _verifier(key)
    advice = "get the bundle again from where it was signed"
    try:
        read_regular(path, most_bytes=_LARGEST_SIGNATURE)
    except OSError as error:
        raise BundleError(f"expected a signature {path}, got: {error.strerror}; {advice}") from error
    try:
        signature = read(path)
        if not signature.bundle.verification_material.public_key.hint:
            raise ValueError("it does not say of which key it is")
        files = [
            (one.identifier, one.digest.algorithm, one.digest.digest_hex)
            for one in verifier.verify(signature).resource_descriptors()
        ]
    except Exception as error:  # damage makes model-signing raise many types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BundleError(f"{path}: expected a signature of {key}, got: {reason:.160}; {advice}") from error
    expected = [(name, "sha256", digest) for name, digest in digests.items()]
    if different := sorted({name for name, _, _ in set(files) ^ set(expected)}):
        raise BundleError(
            f"{path}: expected the signed files, got another or an unsigned {different[0]!r:.80}; {advice}"
        )


def _verifier(key: Path) -> tuple[Any, Any]:
    """The verifier of a public key, and the function that reads a signature.

    The public part of model-signing reads the folder's files by itself; the digests to compare with
    what is loaded are to be had from its inner modules alone, hence the pinned minor version.
    """
    try:
        from model_signing._signing import sign_ec_key, sign_sigstore_pb
    except ImportError as error:
        raise DeviceError(
            f"expected model-signing, which verifies signatures; {how_to_install('sign')}"
        ) from error
    try:
        read_regular(key, most_bytes=_LARGEST_KEY)
        return sign_ec_key.Verifier(key), sign_sigstore_pb.Signature.read
    except Exception as error:  # damaged keys make cryptography raise many types
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{key}: expected a public key on P-256, P-384 or P-521 as PEM, got: {reason:.160};"
            " openssl ec -in KEY -pubout writes it"
        ) from error
