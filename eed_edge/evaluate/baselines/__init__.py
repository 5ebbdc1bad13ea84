"""The narrow baseline network, matched in latency and training cost."""
