"""Latency tables: how long each layer of a network takes at each width, on one machine."""
