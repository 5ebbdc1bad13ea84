"""From a failure matrix to an ordered team of sub-models; numpy only."""

from eed_edge.select.diversity import all_teams, robust_diversity, team_diversities
from eed_edge.select.selection import Selection, select_team, team_accuracies

__all__ = ["Selection", "all_teams", "robust_diversity", "select_team", "team_accuracies", "team_diversities"]
