"""Read pictures and convert them to arrays, identically for training and device."""
