"""What the parent's features add, by number of labels."""
