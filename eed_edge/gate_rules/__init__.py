"""Gate rules: a file each with the parameters of the rule and its decisions, in numpy and in plain Python."""
