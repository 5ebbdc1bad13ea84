"""Commands before training: a first try, data sets, a recipe for own pictures, a look at a network."""
