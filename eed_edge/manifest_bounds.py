"""Bounds of the numbers in a manifest, so that none can exhaust the device that acts on it."""

from collections.abc import Iterable

from eed_edge.errors import BundleError

LARGEST_MANIFEST = 2**20  # bytes
MOST_SUBMODELS = 62  # one bit each in an int64
_LARGEST_SIDE = 4096  # pixels
_MOST_PIXELS = 2048 * 2048  # of a picture after resizing, 16 MiB as RGBA
_LONGEST_TEXT = 1000  # characters of a name
_LARGEST_COUNT = 2**53  # of parameters, bytes and the like: exact as a float


def require(condition: bool, message: str) -> None:
    """Raise ``BundleError`` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise BundleError(message)


def check_count(value: int, name: str) -> None:
    """Raise ``BundleError`` unless ``value`` is a count that a float holds exactly."""
    require(value >= 0, f"{name} must be >= 0, got {value!s:.60}")
    require(value <= _LARGEST_COUNT, f"{name} must be at most {_LARGEST_COUNT}, got {value!s:.60}")


def check_texts(texts: Iterable[str]) -> None:
    """Raise ``BundleError`` unless every text is short enough to be a name."""
    longest = max(texts, key=len)
    require(
        len(longest) <= _LONGEST_TEXT,
        f"names must have at most {_LONGEST_TEXT} characters, got {len(longest)}: {longest!r:.60}",
    )


def check_pixels(size: tuple[int, int] | None, name: str) -> None:
    """Raise ``BundleError`` unless a picture of ``(height, width)`` takes little memory."""
    if size is not None:
        height, width = size
        require(
            max(size) <= _LARGEST_SIDE and height * width <= _MOST_PIXELS,
            f"{name} must have sides of at most {_LARGEST_SIDE} and {_MOST_PIXELS} pixels, got {size!s:.60}",
        )
