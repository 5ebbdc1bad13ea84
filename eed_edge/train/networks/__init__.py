"""Networks: architectures, checkpoints, the ensemble of members."""
