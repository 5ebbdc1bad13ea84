"""The steps from images to a bundle as functions; the command line calls the same ones."""
