"""A bundle on disk: its files, what a model file may contain, and the run it was exported from."""
