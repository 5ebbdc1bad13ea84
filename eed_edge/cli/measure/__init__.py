"""Commands that measure a run and its bundle: time, baselines, accuracy, report."""
