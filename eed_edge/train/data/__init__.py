"""Data sets: download, official files, user images, splits and batches."""
