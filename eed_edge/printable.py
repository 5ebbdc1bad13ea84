"""Escape what a terminal would obey: control characters, changes of direction, undecodable bytes."""

import shlex


def printable(text: str) -> str:
    """Return ``text`` on one line with every character that is not printable as a backslash escape.

    Line breaks, tabs, escape sequences, bidirectional and zero-width controls, private and lone
    surrogate code points are escaped; letters of all scripts and backslashes stay.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def printable_lines(text: str) -> str:
    """Return ``text`` like ``printable``, but with its line feeds."""
    return "\n".join(map(printable, text.split("\n")))


def to_copy(*words: object) -> str:
    """A command line of eed-edge that a shell takes as it stands, names with spaces included."""
    return shlex.join(["eed-edge", *map(str, words)])


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
