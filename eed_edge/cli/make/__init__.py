"""Commands that make a bundle: training and export."""
