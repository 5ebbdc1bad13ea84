"""Reading and replacing files that may be hostile, huge or in use by another process."""
