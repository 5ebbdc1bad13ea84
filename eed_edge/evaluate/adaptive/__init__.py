"""Adaptive attacks: they know the gate rule."""
