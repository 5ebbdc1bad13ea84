"""Commands for whoever has a bundle: verify it, classify with it."""
