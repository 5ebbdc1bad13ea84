"""Evaluation: robustness and cost of the deployed bundle, compared with the networks that it replaces."""
