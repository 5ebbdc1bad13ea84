"""Gate rules: a file each with its decisions, in numpy and in plain Python."""
