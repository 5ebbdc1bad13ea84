"""Gate rules: when to stop, for a batch, for a single image, and how close a decision was."""
