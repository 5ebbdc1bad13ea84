"""Training: data, networks, training loop and run folder."""
