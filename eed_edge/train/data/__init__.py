"""Data sets: download, official files, pictures of one's own, splits and batches."""
