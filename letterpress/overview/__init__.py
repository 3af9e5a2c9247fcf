"""A data set before training: examples, counts, near-duplicates."""
