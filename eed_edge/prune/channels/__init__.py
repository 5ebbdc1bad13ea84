"""Channels of a network: which are coupled, what they cost, and a copy without some of them."""
