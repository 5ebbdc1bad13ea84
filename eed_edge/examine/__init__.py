"""Examination of a network before it is trained: what would go wrong later, and what can be pruned."""

from eed_edge.examine.examination import Examination, examine, examine_before_training

__all__ = ["Examination", "examine", "examine_before_training"]
