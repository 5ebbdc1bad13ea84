"""Attacks inside the l_inf ball, for training and evaluation."""
