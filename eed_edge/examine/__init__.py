"""Examination of a network before it is trained: faults that would stop it later, and what can be pruned."""

from eed_edge.examine.examination import Examination, examine, examine_before_training

__all__ = ["Examination", "examine", "examine_before_training"]
