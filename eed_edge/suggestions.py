"""Suggest the known word that a mistyped one was probably meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches

NEAR = 0.65
"""Likeness of two words, from 0 to 1, from which one may be meant for the other."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'train'?)`` with the known word nearest to ``word``; empty if none is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=NEAR)
    return f" (did you mean {near[0]!r}?)" if near else ""


def expected_one_of(known: Iterable[str], got: object) -> str:
    """``expected one of a, b, got 'c'``, with the word that was probably meant."""
    words = list(known)
    return f"expected one of {', '.join(words)}, got {got!r}{did_you_mean(str(got), words)}"
