"""Print on the command line: all text is escaped, and an answer that cannot be written is an error."""

import contextlib
import json
import logging
import os
import sys
from typing import Any, TextIO

import click

from eed_edge.errors import StorageError
from eed_edge.printable import printable, printable_lines


def print_answer(text: str) -> None:
    """Print lines on standard output.

    Raises:
        StorageError: it is closed, full or has no reader.
    """
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        click.echo(_encodable(printable_lines(text), sys.stdout))
    except OSError as error:
        _discard_rest()
        raise StorageError(
            f"cannot write to standard output: {error.strerror or error}; answers are lost from here on,"
            " run again with an output that takes them all"
        ) from error


def print_object(value: Any) -> None:
    """Print an object as one line of JSON; errors as in ``print_answer``."""
    print_answer(json.dumps(value).replace("\x7f", "\\u007f"))  # which json does not escape


def print_figures(value: Any) -> None:
    """Print an object as indented JSON, NaN and infinity refused; errors as in ``print_answer``."""
    print_answer(json.dumps(value, indent=2, allow_nan=False).replace("\x7f", "\\u007f"))


def print_notice(text: str, *, err: bool = True) -> None:
    """Print lines that are no answer, such as progress and errors; lines that cannot be written are lost.

    Args:
        err: on standard error rather than standard output.
    """
    stream = sys.stderr if err else sys.stdout
    with contextlib.suppress(OSError):
        if stream is not None:
            click.echo(_encodable(printable_lines(text), stream), err=err)


def print_progress(text: str, *, last: bool) -> None:
    """Print a line on standard error that the next one overwrites."""
    with contextlib.suppress(OSError):
        click.echo(f"\r{_encodable(printable(text), sys.stderr)}", nl=last, err=True)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person reads the stream; one that is closed, which Python has as None, has no reader."""
    return stream is not None and not stream.closed and stream.isatty()


class FirstTimeOnly(logging.Filter):
    """Let every message through once: a command may open the same bundle several times."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message is new."""
        text = record.getMessage()
        new = text not in self._seen
        self._seen.add(text)
        return new


class EscapedFormatter(logging.Formatter):
    """Messages of the log, escaped, warnings marked as such."""

    def format(self, record: logging.LogRecord) -> str:
        loud = "warning: " if record.levelno >= logging.WARNING else ""
        return loud + printable_lines(super().format(record))


def _encodable(text: str, stream: TextIO | None) -> str:
    """Return the text with escapes for characters that the stream cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _discard_rest() -> None:
    """Discard buffered output, on which Python would fail once more at its exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
