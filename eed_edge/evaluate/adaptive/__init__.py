"""Attacks that know the gate."""
