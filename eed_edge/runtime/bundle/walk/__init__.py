"""What a model may do: allowed operators, and an upper bound of all that its graph computes for one image."""
