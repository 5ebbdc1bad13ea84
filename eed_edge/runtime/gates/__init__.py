"""Early exit: ask a gate rule when to stop, for a batch or a single image, and how close a decision was."""
