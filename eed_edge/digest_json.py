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


MOST_KEYS = 20_000  # keys of all objects together
MOST_LEVELS = 16


def decode(raw: bytes) -> dict[str, Any]:
    """Read a JSON object; its digest is not checked.

    Raises:
        ValueError: not UTF-8 or JSON, not an object, a key twice, too many keys or levels, or a number that
            is not finite.
    """
    keys = 0

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal keys
        keys += len(pairs)
        if keys > MOST_KEYS:
            raise ValueError(f"expected at most {MOST_KEYS:,} keys, got more")
        return _unique(pairs)

    try:
        content = json.loads(raw.decode(), object_pairs_hook=unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError(f"expected at most {MOST_LEVELS} levels, got more") from error
    _check_levels(content, MOST_LEVELS)
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, got {content!r:.60}")
    return content


def check_seal(raw: bytes, content: dict[str, Any]) -> None:
    """Refuse ``raw`` when its digest does not fit.

    Raises:
        ValueError: the digest is missing, malformed, occurs twice or is another.
    """
    digest = content.get("digest")
    if not (isinstance(digest, str) and HEX64.fullmatch(digest)):
        raise ValueError(f"digest: expected 64 hexadecimal digits, got {digest!r:.80}")
    if raw.count(digest.encode()) != 1:
        raise ValueError("digest: its value must stand in the file only once")
    actual = hashlib.sha256(raw.replace(digest.encode(), _BLANK.encode())).hexdigest()
    if actual != digest:
        raise ValueError(f"digest: the file says {digest[:16]}…, its content hashes to {actual[:16]}…")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice!r:.60} occurs twice")
    return content


def _check_levels(content: Any, left: int) -> None:
    if isinstance(content, (dict, list)):
        if not left:
            raise ValueError(f"expected at most {MOST_LEVELS} levels, got more")
        for entry in content.values() if isinstance(content, dict) else content:
            _check_levels(entry, left - 1)


def _no_constant(name: str) -> float:
    raise ValueError(f"expected finite numbers, got {name}")
