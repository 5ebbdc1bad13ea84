"""Adversarial attacks for training and evaluation, each an object with one call signature."""
