"""Pictures from files to arrays, the same for training and device."""
