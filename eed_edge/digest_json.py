"""JSON that carries its own digest: the SHA-256 of the file with the digest's 64 characters set to 0."""

import hashlib
import json
import re
from typing import Any

HEX64 = re.compile(r"[0-9a-f]{64}")
_BLANK = "0" * 64


def seal(content: dict[str, Any]) -> bytes:
    """Write ``content``, which has a key ``digest`` of any value, as indented JSON with its digest.

    Raises:
        ValueError: a number is not finite, or 64 zeros stand elsewhere in the content.
    """
    blank = (json.dumps({**content, "digest": _BLANK}, indent=2, allow_nan=False) + "\n").encode()
    if blank.count(_BLANK.encode()) != 1:
        raise ValueError("64 zeros stand for the digest and may not be used elsewhere")
    return blank.replace(_BLANK.encode(), hashlib.sha256(blank).hexdigest().encode())


def decode(raw: bytes) -> dict[str, Any]:
    """Read a JSON object; the digest is not looked at.

    Raises:
        ValueError: not UTF-8 or JSON, not an object, a key twice, or a number that is not finite.
    """
    try:
        content = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, got {content!r:.60}")
    return content


def check_seal(raw: bytes, content: dict[str, Any]) -> None:
    """Refuse ``raw`` when its digest does not fit.

    Raises:
        ValueError: the digest is missing, malformed, stands twice or is another.
    """
    digest = content.get("digest")
    if not (isinstance(digest, str) and HEX64.fullmatch(digest)):
        raise ValueError(f"digest: expected 64 hexadecimal digits, got {digest!r:.80}")
    if raw.count(digest.encode()) != 1:
        raise ValueError("digest: its value must stand in the file only once")
    found = hashlib.sha256(raw.replace(digest.encode(), _BLANK.encode())).hexdigest()
    if found != digest:
        raise ValueError(f"digest: the file says {digest[:16]}…, its content hashes to {found[:16]}…")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r:.60} stands twice")
    return content


def _no_constant(name: str) -> float:
    raise ValueError(f"expected finite numbers, got {name}")
