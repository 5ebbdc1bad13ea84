"""Latency, cold start and session tuning on this machine."""
