"""What the parent's features are worth to the child, by number of labels."""
