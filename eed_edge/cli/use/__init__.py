"""Commands that use a bundle: verify it, classify pictures, show it in the browser."""
