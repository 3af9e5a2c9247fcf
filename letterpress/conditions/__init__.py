"""Accuracy on pictures as people take them."""
