"""Learning: data, networks, attacks and training."""
