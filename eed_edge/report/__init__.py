"""``report.json``: the file, the machine it was measured on, intervals, and names for its keys."""

from eed_edge.report.environment import commit, machine
from eed_edge.report.report_file import merge_report, read_report
from eed_edge.report.statistics import wilson, wilson_interval

__all__ = ["commit", "machine", "merge_report", "read_report", "wilson", "wilson_interval"]
