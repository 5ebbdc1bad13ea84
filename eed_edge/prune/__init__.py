"""From one base network to a pool of small candidates; the only user of torch-pruning."""
