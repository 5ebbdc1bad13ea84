"""Commands before training: the demo, data sets, a recipe for your own pictures, checks of a network."""
