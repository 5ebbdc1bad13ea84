"""Calibrate the gate: settings, temperatures and abstain threshold from answers on the calibration images."""
