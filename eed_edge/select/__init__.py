"""Team selection: from failures under attack to an ordered team; numpy only."""

from eed_edge.select.diversity import all_teams, robust_diversity, team_diversities
from eed_edge.select.selection import Criteria, Selection, TeamBudget, select_team
from eed_edge.select.team_accuracy import team_accuracies

__all__ = [
    "Criteria",
    "Selection",
    "TeamBudget",
    "all_teams",
    "robust_diversity",
    "select_team",
    "team_accuracies",
    "team_diversities",
]
