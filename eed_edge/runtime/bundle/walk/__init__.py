"""Checks of what a model does: operators, and an upper bound of all that its graph computes for one image."""
