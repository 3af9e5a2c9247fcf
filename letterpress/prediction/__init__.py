"""From a person's picture to a class and a probability."""
