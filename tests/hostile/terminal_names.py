"""Texts that change a terminal when they reach it: names of bundles, classes and files."""

TERMINAL_NAMES = (
    "\x1b]0;owned\x07cat",  # OSC: the window's title
    "\x1b]52;c;cm0gLXJm\x07",  # OSC: the clipboard
    "\x1b[2J\x1b[Hcat",  # CSI: an empty screen
    "\x9b2Jcat",  # CSI of 8 bits
    "dog\rcat",  # the start of the line again
    "cat\x08\x08\x08dog",
    "cat\nok  all verified",  # a line of its own
    "cat\u2028dog",
    "\u202egnp.tac",  # right to left
    "\u2066cat\u2069",
    "ca\u200bt",  # zero width
    "cat\x00\x7f",
    "\ud800cat",  # half of a pair
    "cat\udcff",  # a byte that no text has
    "\U000e0041cat",  # a tag
)
