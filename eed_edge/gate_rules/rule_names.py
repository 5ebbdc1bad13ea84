"""The names of the gate rules, in the order of the manifest; without numpy, for the command line."""

from typing import Literal

Rule = Literal["confidence", "agreement", "geometric"]
