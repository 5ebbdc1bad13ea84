"""Around training: devices, processes, signals, locks, time limit, logs."""
